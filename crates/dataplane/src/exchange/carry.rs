//! What carries a request to an endpoint: a connection that is idle, a stream of a shared one, or a new connection.

use std::rc::Rc;
use std::sync::Arc;

use penstock_model::HostRewrite;

use super::attempt::Failure;
use super::forward::{Headers, Outbound};
use crate::cluster::{Active, LiveCluster, LiveEndpoint};
use crate::upstream::h1::{self, Connection};
use crate::upstream::{Carrier, Connector, Counted, Cut, Link, connect};

impl Outbound<'_> {
    /// An idle connection, or a new one.
    pub(super) async fn link(&self, cluster: &LiveCluster, active: &Active, fresh: bool) -> Result<Box<Link>, Failure> {
        let worker = &self.downstream.worker;
        let endpoint = active.endpoint();
        if cluster.speaks_http2() {
            return self.stream(endpoint, fresh).await;
        }
        if let Some(connector) = cluster.connector() {
            // Boxed: a request without TLS needs no room for a handshake.
            return Box::pin(self.secured(connector, endpoint, fresh)).await;
        }
        if let Some(link) = worker.pool.take(endpoint, None).filter(|_| !fresh) {
            return Ok(link);
        }
        let stream = connect(endpoint.endpoint.address, self.forward.connect_timeout).await?;
        let labels = [&*self.forward.pool, &*self.forward.settings, &*endpoint.address];
        let counted = Counted::new(worker.metrics.families().backend_connections.with_label_values(&labels));
        let carrier = Carrier::Http1(Connection::new(stream));
        Ok(Box::new(Link::new(carrier, Arc::clone(endpoint), worker.pool.enter(endpoint), Some(counted))))
    }

    /// The same over TLS.
    async fn secured(
        &self,
        connector: Arc<Connector>,
        endpoint: &Arc<LiveEndpoint>,
        fresh: bool,
    ) -> Result<Box<Link>, Failure> {
        let worker = &self.downstream.worker;
        let address = endpoint.endpoint.address;
        let secured = connector.to(self.host(endpoint), address)?;
        if let Some(link) = worker.pool.take(endpoint, Some(&secured)).filter(|_| !fresh) {
            return Ok(link);
        }
        let stream = secured.connect(address, self.forward.connect_timeout).await?;
        let labels = [&*self.forward.pool, &*self.forward.settings, &*endpoint.address];
        let counted = Counted::new(worker.metrics.families().backend_connections.with_label_values(&labels));
        let carrier = Carrier::Tls(Box::new(Connection::new(stream)));
        let mut link = Link::new(carrier, Arc::clone(endpoint), worker.pool.enter(endpoint), Some(counted));
        link.secured = Some(Box::new(secured));
        Ok(Box::new(link))
    }

    /// Host as it is sent.
    pub(super) fn host<'s>(&'s self, endpoint: &'s LiveEndpoint) -> &'s [u8] {
        if let Headers::Rewritten(rewritten) = self.headers
            && let Some(host) = &rewritten.host
        {
            return host.as_bytes();
        }
        match &self.forward.host {
            HostRewrite::Keep => self.authority,
            HostRewrite::Set(authority) => authority.as_str().as_bytes(),
            HostRewrite::FromBackend => {
                endpoint.endpoint.host.as_ref().map_or(endpoint.address.as_bytes(), |host| host.as_bytes())
            }
        }
    }

    /// A stream of a connection that speaks HTTP/2, or of a new one.
    async fn stream(&self, endpoint: &Arc<LiveEndpoint>, fresh: bool) -> Result<Box<Link>, Failure> {
        let worker = &self.downstream.worker;
        let exchange = match worker.sessions.take(endpoint).filter(|_| !fresh) {
            Some(exchange) => exchange,
            None => {
                let stream = connect(endpoint.endpoint.address, self.forward.connect_timeout).await?;
                let labels = [&*self.forward.pool, &*self.forward.settings, &*endpoint.address];
                let counted = Counted::new(worker.metrics.families().backend_connections.with_label_values(&labels));
                let opened = worker.sessions.open(stream, endpoint, worker.pool.enter(endpoint), counted).await;
                opened.map_err(|error| Failure::Backend(h1::Error::Http2(error)))?
            }
        };
        let reused = exchange.is_reused();
        // The end of a drain ends the connection, and with it the stream.
        let mut link = Link::new(Carrier::Http2(exchange), Arc::clone(endpoint), Rc::new(Cut::default()), None);
        link.reused = reused;
        Ok(Box::new(link))
    }
}
