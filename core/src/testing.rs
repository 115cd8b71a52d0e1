//! A conversation partner for adapters' tests: the real broker on the log that makes nothing
//! durable until [`World::step`], and the driver's rules without a socket.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use crate::catalogue::{StepCatalogue, Stored};
use crate::control::{Answer, Credentials, LoginState, Origin, Reply};
use crate::log::{Codecs, Recovered, StepLog};
use crate::{
    Adapter, Batch, Broker, DEFAULT_VHOST, Instant, Limits, Outbox, Principal, Properties,
    PropertyCodec, Protocol, Refusal, Request, Response, SessionHandle, Transmit, Worker,
};

/// A codec that reads nothing, for tests that do not look at properties.
#[derive(Clone, Copy, Debug)]
pub struct OpaqueCodec(pub Protocol);

impl PropertyCodec for OpaqueCodec {
    fn protocol(&self) -> Protocol {
        self.0
    }

    fn decode(&self, _: &[u8]) -> Properties {
        Properties::default()
    }
}

/// One broker and the time, shared by the clients of a test.
#[derive(Debug)]
pub struct World {
    broker: Arc<Broker>,
    log: Arc<StepLog>,
    /// `None` for a broker that keeps nothing but messages.
    catalogue: Option<(Arc<StepCatalogue>, Codecs)>,
    now: Cell<Instant>,
    worker: RefCell<Worker>,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A fresh broker on the stepped log, with vhost `/`, a user `guest`/`guest` who may enter it,
    /// and one `limited`/`limited` who may not; a client without credentials is guest.
    #[must_use]
    pub fn new() -> Self {
        let (broker, log) = Broker::stepped();
        Self::over(broker, log)
    }

    /// The same over a broker that the test made.
    #[must_use]
    pub fn over(broker: Arc<Broker>, log: Arc<StepLog>) -> Self {
        let (catalogue, now) = (None, Cell::new(Instant::START));
        Self { broker, log, catalogue, now, worker: RefCell::default() }
    }

    /// A fresh broker that keeps what is durable, on a log and a catalogue that wait for
    /// [`World::step`].
    #[must_use]
    pub fn durable(codecs: Codecs) -> Self {
        let log = (Arc::new(StepLog::default()), Recovered::default());
        Self::recovered(log, Stored::default(), codecs)
    }

    fn recovered(
        (log, recovered): (Arc<StepLog>, Recovered),
        stored: Stored,
        codecs: Codecs,
    ) -> Self {
        let catalogue = Arc::new(StepCatalogue::with(stored.clone()));
        let kept = (catalogue.clone() as _, stored);
        let log_and_rest = (log.clone() as _, recovered);
        let (broker, _) = Broker::restore(log_and_rest, kept, Limits::default(), (codecs, 0));
        Self { catalogue: Some((catalogue, codecs)), ..Self::over(broker, log) }
    }

    /// The broker crashes, and another goes on with what was synced and committed; no time passes.
    ///
    /// # Panics
    ///
    /// When this broker keeps nothing but messages.
    #[must_use]
    pub fn crash(&self) -> Self {
        let (catalogue, codecs) = self.catalogue.as_ref().expect("a durable world crashes");
        let world = Self::recovered(self.log.crash(), catalogue.stored(), *codecs);
        world.now.set(self.now());
        world
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// The log.
    pub fn log(&self) -> &Arc<StepLog> {
        &self.log
    }

    /// Makes everything appended durable, commits what was proposed, and answers reads.
    pub fn step(&self) {
        self.commit();
        self.log.step();
    }

    /// Commits what was proposed to the catalogue.
    pub fn commit(&self) {
        if let Some((catalogue, _)) = &self.catalogue {
            catalogue.step();
        }
    }

    /// The time now.
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// Lets time pass, and the broker do what it does.
    pub fn pass(&self, millis: u64) {
        self.now.set(Instant::from_millis(self.now().as_millis() + millis));
        while self.broker.tick(self.now(), 1000) {}
    }

    /// A client that speaks `protocol` to `adapter`. What it sends arrives in pieces of
    /// `chunk_len` bytes.
    pub fn client<A: Adapter>(
        &self,
        protocol: Protocol,
        adapter: A,
        chunk_len: usize,
    ) -> Client<'_, A> {
        Client {
            world: self,
            adapter: Some(adapter),
            protocol,
            outbox: self.broker.outbox(),
            chunk_len: chunk_len.max(1),
            input: Vec::new(),
            principal: None,
            pending: None,
            closed: false,
        }
    }
}

/// One client, and the adapter that serves it. Dropping it is dropping the connection without a
/// word.
pub struct Client<'w, A: Adapter> {
    world: &'w World,
    adapter: Option<A>,
    protocol: Protocol,
    outbox: Arc<Outbox>,
    chunk_len: usize,
    input: Vec<u8>,
    principal: Option<Principal>,
    pending: Option<std::pin::Pin<Box<dyn Future<Output = Answer> + Send>>>,
    closed: bool,
}

impl<A: Adapter> std::fmt::Debug for Client<'_, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("adapter", &self.adapter).finish_non_exhaustive()
    }
}

impl<A: Adapter> Client<'_, A> {
    /// The client sends `bytes`; returns what it can read afterwards.
    pub fn send(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut read = Vec::new();
        for chunk in bytes.chunks(self.chunk_len) {
            self.input.extend_from_slice(chunk);
            self.work(&mut read);
        }
        read
    }

    /// What the client can read now, after other clients, the log or the time moved.
    pub fn read(&mut self) -> Vec<u8> {
        let mut read = Vec::new();
        let now = self.world.now();
        let due = self.adapter.as_ref().and_then(Adapter::poll_timeout);
        if due.is_some_and(|due| due <= now) {
            self.with(|adapter, batch| adapter.handle_timeout(now, batch));
        }
        self.work(&mut read);
        read
    }

    /// The socket breaks; the adapter is dropped.
    pub fn disconnect(&mut self) {
        if !self.closed {
            self.with(Adapter::handle_disconnect);
        }
        self.adapter = None;
        self.closed = true;
    }

    /// The gateway shuts down; returns the goodbye.
    pub fn shutdown(&mut self) -> Vec<u8> {
        self.with(Adapter::handle_shutdown);
        self.read()
    }

    /// Whether the broker has closed the connection.
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// The adapter, while the connection stands.
    pub const fn adapter(&self) -> Option<&A> {
        self.adapter.as_ref()
    }

    fn with(&mut self, act: impl FnOnce(&mut A, &mut Batch<'_>)) {
        let Some(adapter) = &mut self.adapter else { return };
        let mut worker = self.world.worker.borrow_mut();
        let mut batch = self.world.broker.batch(&mut worker, self.world.now());
        act(adapter, &mut batch);
        batch.end();
    }

    /// Everything the driver would do until nothing moves any more.
    fn work(&mut self, read: &mut Vec<u8>) {
        loop {
            let mut moved = self.take_input();
            moved |= self.drain_outbox(read);
            moved |= self.ask(read);
            self.transmit(read);
            if self.adapter.as_ref().is_some_and(Adapter::is_closed) {
                self.disconnect();
            }
            if !moved || self.closed {
                return;
            }
        }
    }

    fn take_input(&mut self) -> bool {
        if self.pending.is_some() || self.input.is_empty() {
            return false;
        }
        let input = std::mem::take(&mut self.input);
        let mut taken = 0;
        self.with(|adapter, batch| taken = adapter.handle_bytes(&input, batch));
        self.input = input[taken..].to_vec();
        taken > 0
    }

    fn drain_outbox(&mut self, read: &mut Vec<u8>) -> bool {
        let (mut events, mut packets) = (Vec::new(), Vec::new());
        let bytes = self.outbox.fetch(Waker::noop(), &mut events, &mut packets);
        let moved = !events.is_empty() || !packets.is_empty();
        self.with(|adapter, batch| {
            for event in events {
                adapter.handle_event(event, batch);
            }
        });
        self.transmit(read);
        read.extend_from_slice(&packets);
        if self.outbox.release(bytes) {
            self.world.broker.resume(&self.outbox);
        }
        moved
    }

    fn transmit(&mut self, read: &mut Vec<u8>) {
        let mut out = Transmit::default();
        if let Some(adapter) = &mut self.adapter {
            adapter.poll_transmit(&mut out);
        }
        read.extend_from_slice(&out.bytes);
    }

    /// Asks the control service what the adapter wants, or looks after what it was asked.
    fn ask(&mut self, read: &mut Vec<u8>) -> bool {
        if self.pending.is_none() {
            let request = self.adapter.as_mut().and_then(Adapter::poll_request);
            let Some((session, request)) = request else { return false };
            let reply = self.answer(session, request);
            self.pending = Some(match reply {
                Reply::Ready(answer) => Box::pin(std::future::ready(answer)),
                Reply::Pending(future) => future,
            });
        }
        let Some(pending) = &mut self.pending else { return false };
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let Poll::Ready(answer) = pending.as_mut().poll(&mut Context::from_waker(&waker)) else {
            // It only gave others their turn.
            return woken.0.load(Ordering::Relaxed);
        };
        self.pending = None;
        if let Ok(Response::LoggedIn(principal) | Response::Proven { principal, .. }) = &answer {
            self.principal = Some(principal.clone());
        }
        // Rule 2: what the broker said before the answer comes before it.
        let (mut events, mut packets) = (Vec::new(), Vec::new());
        let bytes = self.outbox.fetch(Waker::noop(), &mut events, &mut packets);
        self.transmit(read);
        read.extend_from_slice(&packets);
        self.with(|adapter, batch| {
            for event in events {
                adapter.handle_event(event, batch);
            }
            adapter.handle_response(answer, batch);
        });
        if self.outbox.release(bytes) {
            self.world.broker.resume(&self.outbox);
        }
        true
    }

    fn answer(&self, session: Option<SessionHandle>, request: Request) -> Reply {
        match request {
            Request::Login(credentials) => Reply::Ready(login(credentials)),
            Request::LoginStep { state, data } => Reply::Ready(login_step(&state, &data)),
            Request::Open { principal, vhost, or_default } => {
                let is_known = |name: &&str| !or_default || self.world.broker.has_vhost(name);
                let vhost = vhost.as_deref().filter(is_known).unwrap_or(DEFAULT_VHOST);
                let outbox = self.outbox.clone();
                let opened = self.world.broker.connect(&principal, vhost, self.protocol, outbox);
                Reply::Ready(opened.map(Response::Opened))
            }
            request => {
                let principal = self.principal.clone();
                let origin = Origin { session, principal, protocol: self.protocol };
                self.world.broker.request(&origin, request)
            }
        }
    }
}

/// Whether a future asked to be polled again.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// An id of a delivery that nobody made, for adapters' tables.
#[must_use]
pub fn delivery(slot: u32) -> crate::DeliveryId {
    crate::DeliveryId { queue: 0, slot, generation: 0 }
}

/// Of the mechanism SCRAM-SHA-256 there is only the shape here: whose first message is a name is
/// asked for `proof of <name>`.
fn login(credentials: Credentials) -> Answer {
    let Credentials { mechanism, user, password } = credentials;
    if mechanism == "SCRAM-SHA-256" {
        let data = [b"challenge for ", &password[..]].concat();
        return Ok(Response::Challenge { data, state: LoginState(Box::new(password)) });
    }
    let principal = match (user.as_deref(), password.as_slice()) {
        (None, _) | (Some("guest"), b"guest") => Principal::unrestricted("guest"),
        (Some("limited"), b"limited") => {
            Principal { vhosts: Some(Arc::default()), ..Principal::unrestricted("limited") }
        }
        _ => return Err(Refusal::LoginRefused { reason: "user or password is wrong".into() }),
    };
    Ok(Response::LoggedIn(principal))
}

fn login_step(state: &LoginState, data: &[u8]) -> Answer {
    let name = state.0.downcast_ref::<Vec<u8>>().map(Vec::as_slice).unwrap_or_default();
    if data != [b"proof of ", name].concat() {
        return Err(Refusal::LoginRefused { reason: "wrong proof".into() });
    }
    let principal = Principal::unrestricted(&String::from_utf8_lossy(name));
    Ok(Response::Proven { principal, data: b"proof of the server".to_vec() })
}
