//! Who asked, where proxies stand in between: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Each proxy appends whom it heard from. What a proxy of ours appended is true; what stands in front of that anybody may
//! have written. So the list is read from its end, over the proxies that are ours, to the first address that is not.

use std::net::{IpAddr, SocketAddr};

use super::head::Request;

/// Most hops that are looked at; nobody puts more proxies of one's own in a row.
const MAX_HOPS: usize = 8;

/// The address that the request really came from. `sender` is the other end of the connection; headers count only if
/// `is_ours` says that the sender is a proxy of ours.
///
/// `None` if a proxy of ours does not say whom it speaks for (`unknown`, or a hidden name): the proxy itself is nobody
/// to tell peers of. Also if the two headers say different things: most proxies write one of them and let the other pass as
/// the client wrote it, and nothing tells which.
pub fn client_address(
    sender: IpAddr,
    request: &Request<'_>,
    is_ours: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let sender = sender.to_canonical();
    if !is_ours(sender) {
        return Some(sender);
    }
    let standard = said(request, "forwarded", forwarded_for, sender, &is_ours);
    let common = said(request, "x-forwarded-for", node, sender, &is_ours);
    match (standard, common) {
        // The proxy asks for itself, as health checks do.
        (None, None) => Some(sender),
        (Some(one), None) | (None, Some(one)) => one,
        (Some(one), Some(other)) => one.filter(|_| one == other),
    }
}

/// What one of the headers says, if it is there.
fn said(
    request: &Request<'_>,
    header: &str,
    read: impl Fn(&[u8]) -> Option<IpAddr>,
    sender: IpAddr,
    is_ours: impl Fn(IpAddr) -> bool,
) -> Option<Option<IpAddr>> {
    let mut values = request.header(header).peekable();
    values.peek()?;
    let hops = values.rev().flat_map(|value| value.rsplit(|b| *b == b',')).map(read);
    Some(walk(sender, hops, is_ours))
}

/// From the nearest hop outwards.
fn walk(
    sender: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    is_ours: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    let mut last = sender;
    for hop in hops.take(MAX_HOPS) {
        last = hop?;
        if !is_ours(last) {
            break;
        }
    }
    Some(last)
}

/// The `for` of one element of `Forwarded`. Commas in quotes would split it in the wrong place, and addresses have none.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    let mut pairs = element.split(|b| *b == b';').map(<[u8]>::trim_ascii);
    let value = pairs.find(|pair| pair.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"for=")))?;
    let value = &value[4..];
    node(value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(value))
}

/// An address, with or without brackets and port.
fn node(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    let addr = bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|a| a.ip()))?;
    Some(addr.to_canonical())
}
