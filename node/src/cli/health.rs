//! `causeway health`: whether a node answers, and is one of its cluster, for the health checks of platforms that hold
//! no token.

use crate::cli::args::{Format, Shared};
use crate::cli::complain;
use crate::cli::exit::Exit;
use crate::cli::http::Api;
use crate::cli::screen::Screen;

/// Asks the node and says whether it answered, and whether it was removed. What its streams do is in `causeway status`.
pub fn check(shared: &Shared, screen: &mut Screen) -> Exit {
    let answered = Api::new(&shared.address, None).and_then(|api| api.answers());
    match answered {
        Ok(removed) if shared.output == Format::Json => {
            screen.json(&serde_json::json!({ "answers": true, "removed": removed.is_some() }));
        }
        Ok(removed) => {
            screen.line("the node answers");
            removed.iter().for_each(|removed| screen.line(removed));
        }
        Err(failure) => return complain(&failure, shared.output, screen),
    }
    Exit::Done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tests::{captured, error, run_against};
    use crate::status::node::REMOVED;
    use causeway_core::error_code::ErrorCode;

    #[test]
    fn a_node_that_answers_is_asked_without_a_token() {
        let (exit, out, err, asked) = run_against(vec![(200, "ok\n".to_owned())], &["health"]);
        assert_eq!((exit, out.as_str(), err.as_str()), (Exit::Done, "the node answers\n", ""));
        assert!(asked.starts_with("GET /healthz ") && !asked.to_lowercase().contains("authorization"), "{asked}");
    }

    #[test]
    fn a_node_that_was_removed_answers_and_says_so() {
        let text = format!("removed: {REMOVED}\n");
        let (exit, out, ..) = run_against(vec![(200, text.clone())], &["health"]);
        assert_eq!((exit, out), (Exit::Done, format!("the node answers\n{REMOVED}\n")));
        let (_, out, ..) = run_against(vec![(200, text)], &["health", "-o", "json"]);
        let told: serde_json::Value = serde_json::from_str(&out).expect("an object");
        assert_eq!(told, serde_json::json!({ "answers": true, "removed": true }));
    }

    #[test]
    fn one_that_does_not_answer_or_fails_is_told_by_the_exit_code() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        let line = ["causeway", "health", "--address", &port.to_string()].map(std::ffi::OsString::from);
        let (screen, out, _) = captured(100);
        assert_eq!((crate::cli::execute(line, screen), out.text().as_str()), (Exit::Unavailable, ""));
        let (exit, ..) = run_against(vec![(503, error(ErrorCode::Unavailable, "busy"))], &["health"]);
        assert_eq!(exit, Exit::Unavailable);
    }
}
