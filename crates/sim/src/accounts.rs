//! Accounts and their balances in integer atoms of 10^-16, so that every product of a price and a quantity is exact.
//!
//! Invariant: the sum of free and locked over all accounts plus the collected fees equals the deposits, per asset.

use crate::reject::Reject;
use crate::types::AccountId;
use keel_model::{Asset, Balance, Notional};

/// Decimal places of an amount.
pub(crate) const AMOUNT_SCALE: u8 = 16;
/// Decimal places to which fees are cut.
pub(crate) const FEE_SCALE: u8 = 8;
/// Largest amount taken in, so that sums cannot overflow.
pub(crate) const AMOUNT_MAX: i128 = 10i128.pow(36);

/// 10^exponent for the exponents that amounts need (at most 16).
pub(crate) const fn pow10(exponent: u8) -> i128 {
    10i128.pow(exponent as u32)
}

/// An amount in atoms as money.
pub(crate) fn to_notional(atoms: i128) -> Notional {
    Notional::new(atoms, AMOUNT_SCALE).unwrap_or(Notional::ZERO)
}

/// Money as atoms; refused when it is finer or larger than an account can hold.
pub(crate) fn to_atoms(value: Notional) -> Result<i128, Reject> {
    let value = value.normalized();
    if value.scale() > AMOUNT_SCALE {
        return Err(Reject::TooLarge);
    }
    let atoms = value.mantissa().checked_mul(pow10(AMOUNT_SCALE - value.scale())).ok_or(Reject::TooLarge)?;
    if atoms.abs() > AMOUNT_MAX { Err(Reject::TooLarge) } else { Ok(atoms) }
}

/// Free and locked amount of one asset.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) free: i128,
    pub(crate) locked: i128,
}

#[derive(Debug, Default)]
pub(crate) struct Account {
    cells: Vec<Cell>,
    /// A house account provides liquidity: its funds are not checked, and nothing is reported about it.
    pub(crate) is_house: bool,
    /// Already noted as changed by the current request.
    pub(crate) is_touched: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Accounts {
    assets: Vec<Asset>,
    accounts: Vec<Account>,
    fees: Vec<i128>,
}

impl Accounts {
    /// Index of an asset, made on first use.
    pub(crate) fn intern(&mut self, asset: Asset) -> usize {
        if let Some(index) = self.find(asset) {
            return index;
        }
        self.assets.push(asset);
        self.fees.push(0);
        for account in &mut self.accounts {
            account.cells.push(Cell::default());
        }
        self.assets.len() - 1
    }

    pub(crate) fn find(&self, asset: Asset) -> Option<usize> {
        self.assets.iter().position(|known| *known == asset)
    }

    pub(crate) fn asset(&self, index: usize) -> Asset {
        self.assets.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn add(&mut self, is_house: bool) -> AccountId {
        let cells = vec![Cell::default(); self.assets.len()];
        self.accounts.push(Account { cells, is_house, is_touched: false });
        AccountId(u32::try_from(self.accounts.len() - 1).unwrap_or(u32::MAX))
    }

    pub(crate) fn get(&self, account: AccountId) -> Option<&Account> {
        self.accounts.get(account.index())
    }

    pub(crate) fn get_mut(&mut self, account: AccountId) -> Option<&mut Account> {
        self.accounts.get_mut(account.index())
    }

    pub(crate) fn count(&self) -> usize {
        self.accounts.len()
    }

    pub(crate) fn is_house(&self, account: AccountId) -> bool {
        self.accounts[account.index()].is_house
    }

    pub(crate) fn cell(&self, account: AccountId, asset: usize) -> Cell {
        self.accounts[account.index()].cells[asset]
    }

    pub(crate) fn cell_mut(&mut self, account: AccountId, asset: usize) -> &mut Cell {
        &mut self.accounts[account.index()].cells[asset]
    }

    /// Moves from free to locked; refuses when there is not enough (house accounts may owe).
    pub(crate) fn lock(&mut self, account: AccountId, asset: usize, amount: i128) -> Result<(), Reject> {
        let account = &mut self.accounts[account.index()];
        let cell = &mut account.cells[asset];
        if cell.free < amount && !account.is_house {
            return Err(Reject::InsufficientBalance);
        }
        cell.free -= amount;
        cell.locked += amount;
        Ok(())
    }

    /// Moves from locked to free.
    pub(crate) fn unlock(&mut self, account: AccountId, asset: usize, amount: i128) {
        let cell = self.cell_mut(account, asset);
        cell.locked -= amount;
        cell.free += amount;
    }

    pub(crate) fn collect_fee(&mut self, asset: usize, amount: i128) {
        self.fees[asset] += amount;
    }

    pub(crate) fn fee_total(&self, asset: usize) -> i128 {
        self.fees.get(asset).copied().unwrap_or(0)
    }

    pub(crate) fn balance(&self, account: AccountId, asset: usize) -> Balance {
        let cell = self.cell(account, asset);
        Balance { asset: self.asset(asset), free: to_notional(cell.free), locked: to_notional(cell.locked) }
    }

    pub(crate) fn balances(&self, account: AccountId) -> Vec<Balance> {
        let Some(found) = self.get(account) else { return Vec::new() };
        let cells = self.assets.iter().zip(&found.cells);
        cells
            .map(|(asset, cell)| Balance {
                asset: *asset,
                free: to_notional(cell.free).normalized(),
                locked: to_notional(cell.locked).normalized(),
            })
            .collect()
    }

    /// Everything there is of an asset: balances and collected fees.
    pub(crate) fn supply(&self, asset: usize) -> i128 {
        let held: i128 =
            self.accounts.iter().map(|account| account.cells[asset].free + account.cells[asset].locked).sum();
        held + self.fee_total(asset)
    }
}
