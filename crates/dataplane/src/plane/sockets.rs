//! Listening sockets: one per worker and port, all on one address by SO_REUSEPORT.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, per socket.
const BACKLOG: i32 = 4096;

/// Binds a port once for each worker.
pub(super) fn bind(address: Option<IpAddr>, port: u16, workers: usize) -> io::Result<Vec<TcpListener>> {
    let bind = |ip: IpAddr| (0..workers).map(|_| bind_one(SocketAddr::new(ip, port))).collect::<io::Result<Vec<_>>>();
    match address {
        Some(ip) => bind(ip),
        None => bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| match error.kind() {
            // Without IPv6 on this machine.
            io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable => bind(Ipv4Addr::UNSPECIFIED.into()),
            _ if error.raw_os_error() == Some(AFNOSUPPORT) => bind(Ipv4Addr::UNSPECIFIED.into()),
            _ => Err(error),
        }),
    }
}

/// Address family not supported (Linux).
const AFNOSUPPORT: i32 = 97;

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
