//! Panics as values: their message and, with the hook installed, their place.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Remembers message and place of each panic for the report of the task that panicked, then does what was done before.
/// Installing it twice does nothing.
pub fn install_panic_hook() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
            let text = format!("{}{place}", payload_text(info.payload()));
            LAST.with(|last| {
                if let Ok(mut last) = last.try_borrow_mut() {
                    *last = Some(text);
                }
            });
            previous(info);
        }));
    });
}

/// The message of a caught panic: what the hook saw on this thread, else the payload.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> String {
    let seen = LAST.with(|last| last.try_borrow_mut().ok().and_then(|mut last| last.take()));
    seen.unwrap_or_else(|| payload_text(payload).to_owned())
}

fn payload_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a panic without a text)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caught_panic_carries_message_and_place() {
        install_panic_hook();
        let caught = std::panic::catch_unwind(|| panic!("boom {}", 7)).unwrap_err();
        let text = message_of(caught.as_ref());
        assert!(text.starts_with("boom 7 at "), "{text}");
        assert!(text.contains("panics.rs:"), "{text}");
    }
}
