//! Sessions.
use crate::{ConnectionId, SessionId};

/// One authenticated connection in a vhost. Owned by the adapter; dropping it ends its exclusive queues.
#[derive(Debug)]
pub struct Connection {}
impl Connection {
    /// Its id.
    pub fn id(&self) -> ConnectionId {
        todo!()
    }
    /// Its vhost.
    pub fn vhost(&self) -> &str {
        todo!()
    }
    /// Its user.
    pub fn user(&self) -> &str {
        todo!()
    }
    /// Opens a session under the adapter's label (the AMQP channel number; 0 elsewhere).
    pub fn session(&self, _label: u16) -> Session {
        todo!()
    }
}
/// A session. Dropping it detaches its consumers and requeues what is unsettled.
#[derive(Debug)]
pub struct Session {}
impl Session {
    /// Its id, as events name it.
    pub fn id(&self) -> SessionId {
        todo!()
    }
    /// A handle for requests.
    pub fn handle(&self) -> SessionHandle {
        todo!()
    }
}
/// A shared handle to a session, for control requests.
#[derive(Clone, Debug)]
pub struct SessionHandle {}
