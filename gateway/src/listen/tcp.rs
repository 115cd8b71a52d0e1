//! Binding the doors, and accepting through them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;
use tower::load_shed::error::Overloaded;
use tracing::{debug, warn};

use crate::accept::{Accept, Accepted};
use crate::config::{Bind, Door};
use crate::shared::Shared;

/// Connections the kernel completes before we have accepted them.
const BACKLOG: i32 = 4096;

/// A pause after `accept` failed, most often because descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A door that is open.
#[derive(Debug)]
pub(crate) struct Bound {
    /// Which one.
    pub(crate) door: Door,
    /// Its sockets.
    pub(crate) listeners: Vec<TcpListener>,
    /// Where it can be reached, ports as they are: `0.0.0.0` beside `[::]` when that serves both.
    pub(crate) addresses: Vec<SocketAddr>,
}

/// A door cannot be opened. `Display` is the line an operator reads.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error("listeners.{} = {bind}: port {} is taken by another program ({address})", door.name(), address.port())]
    Taken {
        /// Which door.
        door: Door,
        /// As configured.
        bind: Bind,
        /// What could not be bound.
        address: SocketAddr,
    },
    /// The operating system says no.
    #[error("listeners.{} = {bind}: cannot listen on {address}: {error}", door.name())]
    Refused {
        /// Which door.
        door: Door,
        /// As configured.
        bind: Bind,
        /// What could not be bound.
        address: SocketAddr,
        /// The system's explanation.
        error: io::Error,
    },
}

/// Opens `door` as `bind` says. Must be called inside the runtime.
pub(crate) fn open(door: Door, bind: Bind) -> Result<Bound, BindError> {
    let listen = |address| {
        listen(address).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => BindError::Taken { door, bind, address },
            _ => BindError::Refused { door, bind, address, error },
        })
    };
    let mut bound = Bound { door, listeners: Vec::new(), addresses: Vec::new() };
    match bind {
        Bind::Off => {}
        Bind::Address(address) => bound.add(listen(address)?),
        Bind::Everywhere(port) => {
            let (all_v4, all_v6) = (Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
            match listen((all_v6, port).into()) {
                Ok((listener, address)) => {
                    bound.add((listener, address));
                    bound.addresses.push((all_v4, address.port()).into());
                }
                // No IPv6 here.
                Err(BindError::Refused { .. }) => bound.add(listen((all_v4, port).into())?),
                Err(taken) => return Err(taken),
            }
        }
        Bind::Localhost(port) => {
            let (listener, address) = listen((Ipv4Addr::LOCALHOST, port).into())?;
            bound.add((listener, address));
            match listen((Ipv6Addr::LOCALHOST, address.port()).into()) {
                Ok(second) => bound.add(second),
                Err(BindError::Refused { .. }) => {}
                Err(taken) => return Err(taken),
            }
        }
    }
    Ok(bound)
}

impl Bound {
    fn add(&mut self, (listener, address): (TcpListener, SocketAddr)) {
        self.listeners.push(listener);
        self.addresses.push(address);
    }
}

fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 as well, whatever the system's default.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart need not wait for the last connections' TIME_WAIT.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from_std(socket.into())?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Accepts until the drain begins; through the HTTP door to its end, so that `/health/ready` can
/// say what is going on.
pub(crate) async fn accept(
    door: Door,
    listener: TcpListener,
    accept: Accept<TcpStream>,
    shared: Arc<Shared>,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.drain.cancelled(), if !door.is_http() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((io, peer)) => {
                if let Err(error) = io.set_nodelay(true) {
                    debug!(%peer, %error, "the connection was gone before it was served");
                    continue;
                }
                spawn(&shared, &accept, Accepted { io, peer });
            }
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The one place where a connection gets its task.
fn spawn(shared: &Arc<Shared>, accept: &Accept<TcpStream>, accepted: Accepted<TcpStream>) {
    let peer = accepted.peer;
    let connection = accept.clone().oneshot(accepted);
    let shared_by_task = shared.clone();
    let task = async move {
        if let Err(error) = connection.await {
            note_failure(&shared_by_task, peer, &error);
        }
    };
    if shared.is_draining() {
        // A health check; nobody waits for it.
        tokio::spawn(task);
    } else {
        shared.tasks.spawn(task);
    }
}

/// Tells of a connection that the accept stack did not serve to its end.
pub(crate) fn note_failure(shared: &Shared, peer: SocketAddr, error: &tower::BoxError) {
    if !error.is::<Overloaded>() {
        // A panic is logged where it is caught; the rest is the peer's doing.
        return debug!(%peer, %error, "connection failed");
    }
    let before = shared.counters.connections_shed.fetch_add(1, Ordering::Relaxed);
    if before.is_power_of_two() || before == 0 {
        // Not one line each: whoever floods us must not fill the disk, too.
        let limit = shared.limits.connections_max.get();
        let refused = before + 1;
        warn!(%peer, limit, refused, "refused a connection: limits.connections_max are open");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let first = open(Door::Amqp, Bind::Everywhere(0)).unwrap();
        let port = first.addresses[0].port();
        assert_ne!(port, 0);
        assert!(first.addresses.iter().any(SocketAddr::is_ipv4), "{:?}", first.addresses);
        for bind in [Bind::Everywhere(port), Bind::Address(([0, 0, 0, 0], port).into())] {
            let error = open(Door::Mqtt, bind).unwrap_err().to_string();
            let expected = format!("listeners.mqtt = {bind}: port {port} is taken");
            assert!(error.starts_with(&expected), "{error}");
        }
    }

    #[tokio::test]
    async fn everywhere_is_reached_over_ipv4_and_localhost_over_both() {
        let bound = open(Door::Http, Bind::Everywhere(0)).unwrap();
        TcpStream::connect(("127.0.0.1", bound.addresses[0].port())).await.unwrap();
        let bound = open(Door::Http, Bind::Localhost(0)).unwrap();
        for address in &bound.addresses {
            TcpStream::connect(address).await.unwrap();
        }
        assert!(open(Door::Http, Bind::Off).unwrap().listeners.is_empty());
    }
}
