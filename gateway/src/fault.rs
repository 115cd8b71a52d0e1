//! A fault that the gateway does not survive, such as a disk that failed: told once, from any
//! thread, to the health pages, to the clients and to whoever ends the process.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use tracing::error;

/// Clones are the same fault.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    why: OnceLock<String>,
    raised: CancellationToken,
}

impl Fault {
    /// Nothing can be promised any more. Only the first one counts.
    pub(crate) fn raise(&self, why: String) {
        error!(%why, "the data directory cannot be written any more: nothing is confirmed, ending");
        if self.0.why.set(why).is_ok() {
            self.0.raised.cancel();
        }
    }

    /// What happened, if anything did.
    pub(crate) fn why(&self) -> Option<&str> {
        self.0.why.get().map(String::as_str)
    }

    /// Once something happened.
    pub(crate) async fn raised(&self) {
        self.0.raised.cancelled().await;
    }
}
