//! The page at `/`: plain files of `gateway/assets`, carried in the binary.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::routing::get;

/// Nothing inline, nothing from elsewhere, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' \
                      data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal $kind:ident $file:literal,)+) => {
        /// Path, content type and content of every file.
        const ASSETS: &[(&str, &str, &str)] =
            &[$(($path, $kind, include_str!(concat!("../../assets/", $file))),)+];
    };
}

assets! {
    "/" HTML "index.html",
    "/style.css" CSS "style.css",
    "/favicon.svg" SVG "favicon.svg",
    "/theme.js" JAVASCRIPT "theme.js",
    "/app.js" JAVASCRIPT "app.js",
    "/address.js" JAVASCRIPT "address.js",
    "/body.js" JAVASCRIPT "body.js",
    "/dom.js" JAVASCRIPT "dom.js",
    "/fields.js" JAVASCRIPT "fields.js",
    "/guide.js" JAVASCRIPT "guide.js",
    "/listen.js" JAVASCRIPT "listen.js",
    "/live.js" JAVASCRIPT "live.js",
    "/names.js" JAVASCRIPT "names.js",
    "/send.js" JAVASCRIPT "send.js",
    "/session.js" JAVASCRIPT "session.js",
    "/stomp.js" JAVASCRIPT "stomp.js",
}

/// A route for each file. The files belong to one version of the broker: a page made of two would
/// break in odd ways, so nothing is used from a cache without asking.
pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let mut router = Router::new();
    for &(path, kind, content) in ASSETS {
        let headers = [
            (CONTENT_TYPE, kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (CACHE_CONTROL, "no-cache"),
        ];
        router = router.route(path, get(move || async move { (headers, content) }));
    }
    router
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_served_and_every_import_is_a_file() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/assets");
        for entry in std::fs::read_dir(folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let path = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
            let is_served = ASSETS.iter().any(|(served, ..)| *served == path);
            assert!(is_served || name == "README.md", "{name} is not served");
        }
        for (path, kind, content) in ASSETS.iter().filter(|(_, kind, _)| *kind == JAVASCRIPT) {
            for import in content.split("from \"./").skip(1) {
                let name = import.split('"').next().unwrap_or_default();
                let known = ASSETS.iter().any(|(served, ..)| served[1..] == *name);
                assert!(known, "{path} ({kind}) imports {name}");
            }
        }
    }

    #[test]
    fn the_page_has_nothing_inline() {
        for (path, _, content) in ASSETS {
            for forbidden in [" onclick=", " style=\"", "<style", "javascript:", "innerHTML ="] {
                assert!(!content.contains(forbidden), "{path} has {forbidden}");
            }
        }
    }
}
