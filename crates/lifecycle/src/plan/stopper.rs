//! `stop()` as one shared future: the plan runs once, and every caller, concurrent or later, gets the same report.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::{StepOutcome, StepReport, StopPlan, StopReport};
use crate::reason::Urgency;

type Shared = watch::Sender<Option<Arc<StopReport>>>;

/// Runs a plan at most once (S3-016, D7, D14). Clones share it.
#[derive(Clone, Debug)]
pub struct Stopper {
    plan: Arc<Mutex<Option<StopPlan>>>,
    report: Shared,
    urgency: watch::Receiver<Urgency>,
}

impl Stopper {
    /// A stopper for `plan`, hurried by `urgency`.
    #[must_use]
    pub fn new(plan: StopPlan, urgency: watch::Receiver<Urgency>) -> Self {
        Self { plan: Arc::new(Mutex::new(Some(plan))), report: watch::Sender::new(None), urgency }
    }

    /// Stops, or waits for the stop that is under way, or returns the report of the one that was. The plan goes on even if
    /// the caller is dropped: it runs as a task of the runtime on which the first caller awaits.
    pub async fn stop(&self) -> Arc<StopReport> {
        let mut receiver = self.report.subscribe();
        let plan = self.plan.lock().take();
        match plan {
            Some(plan) => self.launch(plan),
            None => tracing::debug!("the stop is under way or done; sharing its report"),
        }
        loop {
            if let Some(report) = receiver.borrow_and_update().clone() {
                return report;
            }
            if receiver.changed().await.is_err() {
                // The sender lives in `self`, so this cannot happen while we are borrowed.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The report, if the stop has ended.
    #[must_use]
    pub fn report(&self) -> Option<Arc<StopReport>> {
        self.report.borrow().clone()
    }

    fn launch(&self, plan: StopPlan) {
        let lost = StopReport {
            steps: plan
                .nodes
                .iter()
                .map(|node| StepReport {
                    name: node.step.name.clone(),
                    essential: node.step.essential,
                    closes: node.step.closes,
                    started: None,
                    took: Duration::ZERO,
                    budget: node.step.deadline,
                    outcome: StepOutcome::Lost,
                    notes: Vec::new(),
                })
                .collect(),
            took: Duration::ZERO,
            total: plan.total,
            urgency: *self.urgency.borrow(),
        };
        let publish = Publish { sender: self.report.clone(), lost: Some(lost) };
        let urgency = self.urgency.clone();
        Handle::current().spawn(async move {
            let mut publish = publish;
            let report = plan.run(urgency).await;
            publish.lost = None;
            publish.sender.send_replace(Some(Arc::new(report)));
        });
    }
}

/// Makes sure that waiters hear something even if the runtime goes away under the plan.
struct Publish {
    sender: Shared,
    lost: Option<StopReport>,
}

impl Drop for Publish {
    fn drop(&mut self) {
        if let Some(lost) = self.lost.take() {
            self.sender.send_replace(Some(Arc::new(lost)));
        }
    }
}
