//! Listening sockets: one per worker and port, all on one address by SO_REUSEPORT.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::upstream::configure;

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
    // For all that it accepts: five system calls less for each.
    configure(&socket);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn what_is_accepted_has_no_delay_and_finds_out_dead_peers() {
        for sockets in [bind(None, 0, 1), bind(Some(Ipv4Addr::LOCALHOST.into()), 0, 1)] {
            let listening = sockets.unwrap().remove(0);
            let client = TcpStream::connect(("127.0.0.1", listening.local_addr().unwrap().port())).unwrap();
            SockRef::from(&listening).set_nonblocking(false).unwrap();
            let (accepted, _) = listening.accept().unwrap();
            let (accepted, client) = (SockRef::from(&accepted), SockRef::from(&client));
            assert!(accepted.tcp_nodelay().unwrap() && !client.tcp_nodelay().unwrap());
            assert!(accepted.keepalive().unwrap());
            assert_eq!(accepted.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
            assert_eq!(accepted.tcp_keepalive_interval().unwrap(), Duration::from_secs(15));
            assert_eq!(accepted.tcp_keepalive_retries().unwrap(), 4);
        }
    }
}
