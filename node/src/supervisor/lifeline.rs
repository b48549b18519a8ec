//! Tells when a part that the node cannot do without has ended, however it ended.
//!
//! Each such actor holds one; it is dropped with the actor, also after a panic. While the node stops nobody listens.

use tokio::sync::watch;

/// Held by a part for as long as it works.
#[derive(Debug)]
pub struct Lifeline {
    part: &'static str,
    ended: watch::Sender<Option<&'static str>>,
}

impl Lifeline {
    /// A lifeline of a part; `ended` gets its name at the end.
    #[must_use]
    pub fn new(part: &'static str, ended: &watch::Sender<Option<&'static str>>) -> Self {
        Self { part, ended: ended.clone() }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.ended.send_replace(Some(self.part));
    }
}

#[cfg(test)]
mod tests {
    use actix::{Actor, Context, Handler, Message};
    use tokio::task::LocalSet;

    use super::*;

    struct Fragile {
        _lifeline: Lifeline,
    }

    impl Actor for Fragile {
        type Context = Context<Self>;
    }

    #[derive(Message)]
    #[rtype(result = "()")]
    struct Break;

    impl Handler<Break> for Fragile {
        type Result = ();

        fn handle(&mut self, _: Break, _: &mut Self::Context) {
            panic!("on purpose");
        }
    }

    #[tokio::test]
    async fn a_panic_is_an_end_that_is_noticed() {
        let (sender, mut ended) = watch::channel(None);
        let test = async {
            let actor = Fragile { _lifeline: Lifeline::new("fragile part", &sender) }.start();
            assert_eq!(*ended.borrow(), None);
            assert!(actor.send(Break).await.is_err());
            assert_eq!(*ended.wait_for(Option::is_some).await.unwrap(), Some("fragile part"));
        };
        LocalSet::new().run_until(test).await;
    }
}
