//! A worker: one thread, one runtime, its own listening sockets, connections and pools. Nothing here is shared but what
//! the plane publishes behind one pointer.

mod accept;
mod clients;
mod http2;
mod io;
mod ports;
mod serve;
#[cfg(test)]
mod site;
mod sniff;

use std::cell::{Cell, RefCell};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ahash::RandomState;
use arc_swap::{ArcSwap, Cache};
use hashbrown::{HashMap, HashSet};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::access_log::WorkerLog;
use crate::cluster::{LiveEndpoint, Traffic};
use crate::metrics::LocalMetrics;
use crate::plane::Noticed;
use crate::route_state::{ListenerState, Live};
use crate::timer;
use crate::trace::Tracer;
use crate::tunnel::registry::Spread;
use crate::tunnel::{CloseReason, Filter, Leaving, Registry};
use crate::upstream::{Pool, Rooms, Sessions};

pub(crate) use accept::Counted;
pub(crate) use clients::{Clients, OfClient};
use ports::Port;

/// Between connections becoming idle and their memory going back: longer than mimalloc waits with free pages, a second.
const COLLECT: Duration = Duration::from_millis(1200);

/// What the plane tells a worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept on this socket, which is bound to that port.
    Listen(u16, TcpListener),
    /// No listener has this port any more: stop accepting, close what is idle.
    Unlisten(u16),
    /// An endpoint left its cluster.
    Departed(Arc<LiveEndpoint>, Departure),
    /// It came back in time.
    Returned(Arc<LiveEndpoint>),
    /// Listeners with these numbers are gone, though their port may go on for others.
    ListenersGone(Vec<u64>, Departure),
    /// They came back in time.
    ListenersBack(Vec<u64>),
    /// Say what open tunnels have relayed.
    Count(UnboundedSender<Traffic>),
    /// Routes changed: cells of metrics may go.
    RoutesChanged,
    /// The process goes: stop accepting.
    Close,
    /// Close tunnels, evenly over this time.
    SpreadClose(Duration),
    /// The end.
    Stop,
}

/// How long something that leaves keeps what it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) timeout: Duration,
    /// The last part of it, over which WebSockets are closed.
    pub(crate) spread: Duration,
}

/// Numbers that all workers count together.
#[derive(Debug, Default)]
pub struct Totals {
    /// Client connections open now, tunnels included; what the open-files limit is held against.
    connections: AtomicUsize,
    /// Told when the last one is gone.
    gone: Notify,
}

/// What a worker may use, and how it gives back.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// Connections beyond this number, over all workers, wait in the kernel's queue.
    pub(crate) max_connections: usize,
    /// Connections to backends, over all workers.
    pub(crate) backends: Arc<Rooms>,
    /// Those of one port beyond this number are closed.
    pub(crate) per_listener: Option<u32>,
    /// How many each client has, where that is limited.
    pub(crate) clients: Option<Arc<Clients>>,
    /// From the first byte of a request head to its last.
    pub(crate) request_head: Duration,
    /// Gives memory of the calling thread back.
    pub(crate) collect: fn(),
}

/// What a worker's tasks share.
#[derive(Debug)]
pub(crate) struct Worker {
    live: RefCell<Cache<Arc<ArcSwap<Live>>, Arc<Live>>>,
    pub(crate) pool: Pool,
    pub(crate) sessions: Sessions,
    pub(crate) tunnels: Registry,
    pub(crate) metrics: LocalMetrics,
    pub(crate) log: WorkerLog,
    pub(crate) tracer: Tracer,
    pub(crate) totals: Arc<Totals>,
    pub(crate) limits: Limits,
    /// What clients of HTTP/2 may send ahead beyond what each connection has.
    pub(crate) reserve: http2::Reserve,
    /// What the plane has to know of: endpoints whose requests fail, and WebSockets that end.
    pub(crate) noticed: UnboundedSender<Noticed>,
    /// Memory will be given back soon; and whether something became idle since the last time.
    collecting: Cell<bool>,
    idled: Cell<bool>,
    ports: RefCell<HashMap<u16, Rc<Port>, RandomState>>,
    /// Drains under way, by the number of the endpoint.
    departing: RefCell<HashMap<u64, tokio::task::JoinHandle<()>, RandomState>>,
    /// The same, by the number of the listener.
    leaving: RefCell<HashMap<u64, tokio::task::JoinHandle<()>, RandomState>>,
    closing: RefCell<Vec<Spread>>,
    request_seed: u64,
    request_count: Cell<u64>,
}

impl Worker {
    pub(crate) fn new(
        live: Arc<ArcSwap<Live>>,
        metrics: LocalMetrics,
        log: WorkerLog,
        tracer: Tracer,
        totals: Arc<Totals>,
        limits: Limits,
        noticed: UnboundedSender<Noticed>,
    ) -> Rc<Self> {
        Rc::new(Self {
            live: RefCell::new(Cache::new(live)),
            pool: Pool::default(),
            sessions: Sessions::default(),
            tunnels: Registry::default(),
            metrics,
            log,
            tracer,
            totals,
            limits,
            reserve: http2::Reserve::default(),
            noticed,
            collecting: Cell::new(false),
            idled: Cell::new(false),
            ports: RefCell::default(),
            departing: RefCell::default(),
            leaving: RefCell::default(),
            closing: RefCell::default(),
            request_seed: RandomState::new().hash_one(std::process::id()),
            request_count: Cell::new(0),
        })
    }

    /// The current table: a look at one pointer.
    pub(crate) fn live(&self) -> Arc<Live> {
        Arc::clone(self.live.borrow_mut().load())
    }

    /// An identifier that no other request has: 32 hexadecimal digits.
    pub(crate) fn request_id(&self) -> [u8; 32] {
        let count = self.request_count.get();
        self.request_count.set(count + 1);
        let number = u128::from(self.request_seed) << 64 | u128::from(count);
        // Digit by digit: formatting would be one of the dearest steps of a small request.
        std::array::from_fn(|place| b"0123456789abcdef"[(number >> (124 - 4 * place)) as usize & 15])
    }

    /// Connections have become idle: what they used goes back to the system soon. The allocator gives back only what has
    /// been free for a while, so the last look is that long after the last of them.
    pub(crate) fn collect_later(self: &Rc<Self>) {
        self.idled.set(true);
        if self.collecting.replace(true) {
            return;
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            while worker.idled.replace(false) {
                timer::sleep(COLLECT).await;
                (worker.limits.collect)();
            }
            worker.collecting.set(false);
        });
    }

    /// Does what the plane says until it says stop.
    pub(crate) async fn run(self: Rc<Self>, mut commands: UnboundedReceiver<Command>) {
        while let Some(command) = commands.recv().await {
            match command {
                Command::Listen(port, socket) => self.listen(port, socket),
                Command::Unlisten(port) => self.unlisten(port),
                Command::Departed(endpoint, departure) => self.depart(endpoint, departure),
                Command::Returned(endpoint) => {
                    if let Some(drain) = self.departing.borrow_mut().remove(&endpoint.number) {
                        drain.abort();
                    }
                }
                Command::ListenersGone(numbers, departure) => {
                    numbers.into_iter().for_each(|number| self.listener_gone(number, departure));
                }
                Command::ListenersBack(numbers) => {
                    let mut leaving = self.leaving.borrow_mut();
                    numbers.iter().filter_map(|number| leaving.remove(number)).for_each(|drain| drain.abort());
                }
                Command::Count(counted) => {
                    let tunnels = self.tunnels.clone();
                    tokio::task::spawn_local(async move { counted.send(tunnels.moved().await) });
                }
                Command::RoutesChanged => self.forget_metrics(),
                Command::Close => self.close_ports(),
                Command::SpreadClose(window) => self.spread(Filter::All, window),
                Command::Stop => break,
            }
        }
        self.cut_tunnels().await;
        self.metrics.flush();
        self.log.flush();
    }

    /// Ends every tunnel and waits until they have said so.
    async fn cut_tunnels(&self) {
        self.tunnels.cut_all(Filter::All, CloseReason::Drain(Leaving::Process));
        // Each needs to be polled once.
        let mut left = self.tunnels.count(Filter::All);
        while left > 0 && self.tunnels.count(Filter::All) > 0 {
            tokio::task::yield_now().await;
            left -= 1;
        }
    }

    /// Closes tunnels of a kind, evenly over a time.
    fn spread(&self, filter: Filter, window: Duration) {
        let mut closing = self.closing.borrow_mut();
        closing.retain(|spread| !spread.is_finished());
        closing.push(self.tunnels.close_spread(filter, window, CloseReason::Drain(Leaving::Process)));
    }

    /// Lets an endpoint go: idle connections now, tunnels in the last part of its drain, the rest at its end.
    fn depart(self: &Rc<Self>, endpoint: Arc<LiveEndpoint>, departure: Departure) {
        self.pool.forget_idle(&endpoint);
        let reason = CloseReason::Drain(Leaving::Endpoint);
        let (worker, number) = (Rc::clone(self), endpoint.number);
        let drain = tokio::task::spawn_local(async move {
            let spread = departure.spread.min(departure.timeout);
            timer::sleep(departure.timeout - spread).await;
            // Dropped with this task: an endpoint that comes back closes no more.
            let closing = worker.tunnels.close_spread(Filter::Endpoint(number), spread, reason);
            timer::sleep(spread).await;
            worker.tunnels.cut_all(Filter::Endpoint(number), reason);
            drop(closing);
            worker.pool.cut(&endpoint);
            worker.departing.borrow_mut().remove(&number);
        });
        self.departing.borrow_mut().insert(number, drain);
    }

    /// Lets the tunnels of a listener go, in the last part of its drain.
    fn listener_gone(self: &Rc<Self>, number: u64, departure: Departure) {
        let reason = CloseReason::Drain(Leaving::Listener);
        let worker = Rc::clone(self);
        let drain = tokio::task::spawn_local(async move {
            let spread = departure.spread.min(departure.timeout);
            timer::sleep(departure.timeout - spread).await;
            // Dropped with this task: a listener that comes back closes no more.
            let closing = worker.tunnels.close_spread(Filter::Listener(number), spread, reason);
            timer::sleep(spread).await;
            worker.tunnels.cut_all(Filter::Listener(number), reason);
            drop(closing);
            worker.leaving.borrow_mut().remove(&number);
        });
        self.leaving.borrow_mut().insert(number, drain);
    }

    fn forget_metrics(&self) {
        let live = self.live();
        let mut numbers: Vec<u64> = live.listeners.values().map(|listener| listener.number).collect();
        for table in live.routes.listeners() {
            table.for_each(|state| numbers.push(state.number));
        }
        numbers.push(0);
        numbers.sort_unstable();
        let named =
            |listener: &Arc<ListenerState>| [Arc::clone(&listener.gateway), Arc::clone(&listener.listener.id.name)];
        let listeners: HashSet<[Arc<str>; 2]> = live.listeners.values().map(named).collect();
        self.metrics.forget(|number| numbers.binary_search(&number).is_ok(), |labels| listeners.contains(labels));
    }
}

impl Totals {
    /// Client connections that are open, tunnels included.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Ends when no connection is open.
    pub async fn none_left(&self) {
        loop {
            let gone = self.gone.notified();
            if self.connections() == 0 {
                return;
            }
            gone.await;
        }
    }

    pub(crate) fn opened(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self) {
        if self.connections.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.gone.notify_waiters();
        }
    }
}
