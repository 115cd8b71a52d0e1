//! `[http]`: under which names, and from which pages, a browser may speak to the broker.

use serde::{Deserialize, Serialize};

use super::Invalid;

/// `[http]` as written.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RawHttp {
    /// Names besides `localhost` and IP addresses under which a client on loopback may call.
    pub hosts: Vec<String>,
    /// Origins besides the broker's own host and loopback whose pages may open a WebSocket.
    pub origins: Vec<String>,
}

/// `[http]`, checked; all in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRules {
    /// Host names without a port.
    pub hosts: Vec<String>,
    /// Origins, `scheme://host[:port]`.
    pub origins: Vec<String>,
}

impl TryFrom<RawHttp> for HttpRules {
    type Error = Invalid;

    fn try_from(raw: RawHttp) -> Result<Self, Invalid> {
        for host in &raw.hosts {
            if host.is_empty() || host.contains([':', '/', '*', ' ']) {
                let rule = "must be names without scheme, port, path or wildcard";
                return Err(Invalid::new("http.hosts", format_args!("{host:?}"), rule));
            }
        }
        for origin in &raw.origins {
            let host = origin.split_once("://").map(|(_, host)| host).unwrap_or_default();
            if host.is_empty() || host.contains(['/', '*', ' ']) {
                let rule = "must be origins without path or wildcard, such as https://example.com";
                return Err(Invalid::new("http.origins", format_args!("{origin:?}"), rule));
            }
        }
        let lower = |list: Vec<String>| list.iter().map(|text| text.to_ascii_lowercase()).collect();
        Ok(Self { hosts: lower(raw.hosts), origins: lower(raw.origins) })
    }
}
