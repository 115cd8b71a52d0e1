//! Nobody asks for anything but a login before they are logged in. An adapter that let something
//! through would be stopped here.

use trivium_core::{Refusal, Request};

use super::Ask;

/// See the module.
pub(super) fn is_known(ask: &Ask) -> Result<(), Refusal> {
    let is_known = match &ask.request {
        Request::Login(_) | Request::LoginStep { .. } => true,
        // Whom an adapter brings in must be who has logged in.
        Request::Open { principal, .. } => ask.origin.principal.as_ref() == Some(principal),
        _ => ask.origin.principal.is_some(),
    };
    if is_known { Ok(()) } else { Err(Refusal::access("not logged in")) }
}
