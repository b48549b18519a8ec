//! The status page: a few files inside the program, served without a token because they tell nothing by themselves.
//!
//! There is no build step and nothing is loaded from elsewhere. The page asks `/v1/status` with the token that its user
//! gives.

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::server;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// Every file of the page: path, type, content.
const FILES: [(&str, &str, &str); 13] = [
    ("/", HTML, include_str!("../console/index.html")),
    ("/assets/console.css", CSS, include_str!("../console/console.css")),
    ("/assets/charts.css", CSS, include_str!("../console/charts.css")),
    ("/assets/nodes.css", CSS, include_str!("../console/nodes.css")),
    ("/assets/console.js", SCRIPT, include_str!("../console/console.js")),
    ("/assets/session.js", SCRIPT, include_str!("../console/session.js")),
    ("/assets/format.js", SCRIPT, include_str!("../console/format.js")),
    ("/assets/elements.js", SCRIPT, include_str!("../console/elements.js")),
    ("/assets/map.js", SCRIPT, include_str!("../console/map.js")),
    ("/assets/chart.js", SCRIPT, include_str!("../console/chart.js")),
    ("/assets/streams.js", SCRIPT, include_str!("../console/streams.js")),
    ("/assets/nodes.js", SCRIPT, include_str!("../console/nodes.js")),
    ("/favicon.svg", PICTURE, include_str!("../console/favicon.svg")),
];

/// Whether a path is a file of the page.
#[must_use]
pub fn is_page(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

/// Adds the routes.
pub(super) fn routes(config: &mut web::ServiceConfig) {
    for (path, kind, content) in FILES {
        let tag = tag_of(content);
        let serve = move |request: HttpRequest| {
            let response = answer(&request, kind, content, &tag);
            async move { response }
        };
        config.service(server::resource(path).route(web::get().to(serve)));
    }
}

/// Browsers keep a file but ask each time whether it is still the one, so that a new release shows at once.
fn answer(request: &HttpRequest, kind: &str, content: &'static str, tag: &str) -> HttpResponse {
    let known = request.headers().get(IF_NONE_MATCH).is_some_and(|value| value.as_bytes() == tag.as_bytes());
    let mut response = if known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((ETAG, tag)).insert_header((CACHE_CONTROL, "no-cache"));
    if known { response.finish() } else { response.content_type(kind).body(content) }
}

fn tag_of(content: &str) -> String {
    let digest = Sha256::digest(content.as_bytes());
    format!("\"{}\"", URL_SAFE_NO_PAD.encode(digest))
}

#[cfg(test)]
mod tests {
    use super::{FILES, is_page};

    /// The security policy forbids all of these, so that one that slips in would silently not work.
    #[test]
    fn the_page_has_no_inline_script_or_style_and_nothing_from_elsewhere() {
        for (path, _, content) in FILES {
            for forbidden in [" style=\"", " onclick=", "<style", "javascript:", "innerHTML", "eval(", "document.write"]
            {
                assert!(!content.contains(forbidden), "{path} has {forbidden}");
            }
            let outside = content.replace("http://www.w3.org/", "");
            assert!(!outside.contains("http://") && !outside.contains("https://"), "{path} names another site");
            assert!(content.lines().count() <= 500, "{path} is too long");
        }
    }

    #[test]
    fn whatever_the_page_loads_is_served() {
        for (path, _, content) in FILES {
            for part in content.split(['"', '\'']).filter(|part| part.starts_with("/assets/") || part.starts_with("./"))
            {
                let wanted = part.replace("./", "/assets/");
                assert!(is_page(&wanted), "{path} loads {part}");
            }
        }
        assert!(is_page("/") && !is_page("/v1/status") && !is_page("/assets/") && !is_page("//"));
    }
}
