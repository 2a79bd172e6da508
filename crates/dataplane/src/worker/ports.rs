//! The ports of a worker: sockets it accepts on, and the end of that.

use std::cell::Cell;
use std::net::TcpListener;
use std::rc::Rc;

use tokio::sync::Notify;

use super::{Worker, accept};

/// A port that is accepted on. Its connections hold it to learn when it closes.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) number: u16,
    closing: Cell<bool>,
    notify: Notify,
}

impl Port {
    pub(super) fn new(number: u16) -> Rc<Self> {
        Rc::new(Self { number, closing: Cell::new(false), notify: Notify::new() })
    }

    /// Whether no more requests are wanted on its connections.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get()
    }

    /// Ends once it closes.
    pub(crate) async fn closed(&self) {
        while !self.closing.get() {
            self.notify.notified().await;
        }
    }

    fn close(&self) {
        self.closing.set(true);
        self.notify.notify_waiters();
    }
}

impl Worker {
    /// Accepts on a socket from now on.
    pub(super) fn listen(self: &Rc<Self>, number: u16, socket: TcpListener) {
        let port = Port::new(number);
        self.ports.borrow_mut().insert(number, Rc::clone(&port));
        match tokio::net::TcpListener::from_std(socket) {
            Ok(socket) => {
                tokio::task::spawn_local(accept::accept(Rc::clone(self), port, socket));
            }
            Err(error) => tracing::error!(port = number, %error, "cannot accept on a listening socket"),
        }
    }

    /// Accepts no more on a port; its idle connections go.
    pub(super) fn unlisten(&self, number: u16) {
        if let Some(port) = self.ports.borrow_mut().remove(&number) {
            port.close();
        }
    }

    /// Accepts nowhere any more.
    pub(super) fn close_ports(&self) {
        for (_, port) in self.ports.borrow_mut().drain() {
            port.close();
        }
    }
}
