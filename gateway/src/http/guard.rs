//! A visited web page must not reach a developer's broker.
//!
//! Two ways lead from a page on the internet to a broker on the visitor's own machine. The page may
//! open a WebSocket to `localhost`: browsers allow that to every page, and say the page's origin.
//! Or its name may be made to resolve to 127.0.0.1 (DNS rebinding), and then it is "the same
//! origin". Hence:
//!
//! - **H-1** when the peer is on loopback, `Host` must be `localhost`, an IP address, or listed in
//!   `http.hosts`.
//! - **H-2** the `Origin` of an upgrade must have `Host`'s host, or be loopback, or be listed in
//!   `http.origins`. Programs that are no browsers send none, and pass.
//!
//! Everything else is answered with 403.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures_util::future::{Either, Ready, ready};
use tower::{Layer, Service};
use tracing::info;

use super::Peer;
use crate::config::HttpRules;

/// Why a request is refused; the body of the 403.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Forbidden {
    #[error("Host must be localhost, an IP address or listed in http.hosts")]
    Host,
    #[error("Origin must be this host, loopback or listed in http.origins")]
    Origin,
}

/// The two rules, as a pure function of a request's head.
fn check(is_loopback: bool, headers: &HeaderMap, rules: &HttpRules) -> Result<(), Forbidden> {
    let host = single(headers, header::HOST).map(host_of);
    if is_loopback && !host.as_deref().is_some_and(|host| is_known(host, &rules.hosts)) {
        return Err(Forbidden::Host);
    }
    if !headers.contains_key(header::UPGRADE) || !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let origin = single(headers, header::ORIGIN).unwrap_or_default().to_ascii_lowercase();
    let origin_host = origin.split_once("://").map(|(_, rest)| host_of(rest)).unwrap_or_default();
    let is_same = !origin_host.is_empty() && host.is_some_and(|host| host == origin_host);
    let is_allowed = is_same || is_local(&origin_host) || rules.origins.contains(&origin);
    if is_allowed { Ok(()) } else { Err(Forbidden::Origin) }
}

/// The header's value when there is exactly one, and it is text.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// The host of `host[:port]`, in lower case, an IPv6 address in its brackets.
fn host_of(authority: &str) -> String {
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    authority[..end].to_ascii_lowercase()
}

fn is_known(host: &str, listed: &[String]) -> bool {
    host == "localhost" || address_of(host).is_some() || listed.iter().any(|known| known == host)
}

fn is_local(host: &str) -> bool {
    host == "localhost"
        || address_of(host).is_some_and(|address| address.to_canonical().is_loopback())
}

/// An IPv4 address, or an IPv6 address in brackets.
fn address_of(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inside) => inside.parse().map(IpAddr::V6).ok(),
        None => host.parse().map(IpAddr::V4).ok(),
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct GuardLayer(Arc<HttpRules>);

impl GuardLayer {
    pub(super) fn new(rules: HttpRules) -> Self {
        Self(Arc::new(rules))
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard { inner, rules: self.0.clone() }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Guard<S> {
    inner: S,
    rules: Arc<HttpRules>,
}

impl<S, B> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // A request whose peer is unknown is judged by the stricter rules.
        let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
        let is_loopback = peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback());
        match check(is_loopback, request.headers(), &self.rules) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(forbidden) => {
                let header =
                    |name| request.headers().get(name).and_then(|value| value.to_str().ok());
                let (host, origin) = (header(header::HOST), header(header::ORIGIN));
                let peer = peer.map(|peer| tracing::field::display(peer.ip().to_canonical()));
                info!(peer, host, origin, reason = %forbidden, "refused an HTTP request");
                let refusal = (StatusCode::FORBIDDEN, format!("{forbidden}\n")).into_response();
                Either::Left(ready(Ok(refusal)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> HttpRules {
        HttpRules {
            hosts: vec!["broker.test".to_owned()],
            origins: vec!["https://app.example.com".to_owned()],
        }
    }

    fn judge(is_loopback: bool, head: &[(&'static str, &'static str)]) -> Result<(), Forbidden> {
        let mut headers = HeaderMap::new();
        for (name, value) in head {
            headers.append(*name, value.parse().unwrap());
        }
        check(is_loopback, &headers, &rules())
    }

    #[test]
    fn a_loopback_peer_names_a_known_host() {
        let known = [
            "localhost",
            "localhost:15672",
            "LocalHost:1",
            "127.0.0.1:15672",
            "127.0.0.1",
            "[::1]",
            "[::1]:15672",
            "192.0.2.7:1",
            "broker.test",
            "Broker.Test:15672",
        ];
        for host in known {
            assert_eq!(judge(true, &[("host", host)]), Ok(()), "{host}");
        }
        let unknown = [
            "evil.example",
            "evil.example:15672",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "::1",
            "[::1",
            "[evil]",
            "localhost.",
            "0x7f.1",
        ];
        for host in unknown {
            assert_eq!(judge(true, &[("host", host)]), Err(Forbidden::Host), "{host}");
            assert_eq!(judge(false, &[("host", host)]), Ok(()), "{host} from elsewhere");
        }
        assert_eq!(judge(true, &[]), Err(Forbidden::Host));
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(judge(true, &two), Err(Forbidden::Host));
    }

    #[test]
    fn an_upgrade_comes_from_a_known_page() {
        let upgrade = |host, origin| [("host", host), ("upgrade", "websocket"), ("origin", origin)];
        let known = [
            ("localhost:15672", "http://localhost:15672"),
            ("localhost:15672", "http://localhost:3000"),
            ("127.0.0.1:15672", "http://[::1]:3000"),
            ("192.0.2.7:15672", "http://192.0.2.7:8080"),
            ("127.0.0.1:15672", "https://app.example.com"),
            ("127.0.0.1:15672", "HTTPS://App.Example.com"),
            ("broker.test", "http://broker.test"),
        ];
        for (host, origin) in known {
            assert_eq!(judge(true, &upgrade(host, origin)), Ok(()), "{host} {origin}");
        }
        let foreign = [
            ("localhost:15672", "https://evil.example"),
            ("localhost:15672", "null"),
            ("localhost:15672", "http://localhost.evil.example"),
            ("localhost:15672", "http://app.example.com"),
            ("localhost:15672", ""),
        ];
        for (host, origin) in foreign {
            let judged = judge(true, &upgrade(host, origin));
            assert_eq!(judged, Err(Forbidden::Origin), "{host} {origin}");
        }
        // A rebinding page passes as its own origin, and fails by its name.
        let rebinding = upgrade("evil.example", "http://evil.example");
        assert_eq!(judge(true, &rebinding), Err(Forbidden::Host));
        // From elsewhere the origin counts as well.
        let far = upgrade("broker.example.net", "https://evil.example");
        assert_eq!(judge(false, &far), Err(Forbidden::Origin));
        let same = upgrade("broker.example.net:15672", "https://broker.example.net");
        assert_eq!(judge(false, &same), Ok(()));
        let two = [
            ("host", "localhost"),
            ("upgrade", "websocket"),
            ("origin", "http://localhost"),
            ("origin", "https://evil.example"),
        ];
        assert_eq!(judge(true, &two), Err(Forbidden::Origin));
    }

    #[test]
    fn what_is_no_upgrade_needs_no_origin() {
        let plain = [("host", "localhost"), ("origin", "https://evil.example")];
        assert_eq!(judge(true, &plain), Ok(()));
        assert_eq!(judge(true, &[("host", "localhost"), ("upgrade", "websocket")]), Ok(()));
    }
}
