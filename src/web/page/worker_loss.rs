//! The ways in which a worker can be lost, and the page's messages for them.

use super::{word::Word, words::Words};
use crate::web::protocol::{Failure, FailureKind};

/// How a worker was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerLoss {
    /// It died, and may have said why.
    Died(Option<String>),
    /// Its program could not be fetched.
    Unfetched(Option<String>),
    /// It does not answer pings.
    Silent,
}

impl WorkerLoss {
    pub fn word(&self) -> Word {
        match self {
            Self::Died(_) => Word::Crashed,
            Self::Unfetched(_) => Word::EngineUnfetched,
            Self::Silent => Word::Silent,
        }
    }

    /// The error message: the engine's in English, or the browser's.
    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Died(detail) | Self::Unfetched(detail) => detail.as_deref(),
            Self::Silent => None,
        }
    }

    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Unfetched(_) => FailureKind::Network,
            Self::Died(_) | Self::Silent => FailureKind::Crash,
        }
    }

    /// Converts the loss to a [`Failure`].
    pub fn failure(&self, words: &Words) -> Failure {
        let sentence = &words[self.word()];
        let message = match self.detail() {
            Some(detail) => format!("{sentence} {detail}"),
            None => sentence.to_owned(),
        };
        Failure { kind: self.kind(), message, retryable: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_did_not_come_is_not_one_that_stopped() {
        let said = |loss: WorkerLoss| loss.failure(&Words::english());
        let unfetched = said(WorkerLoss::Unfetched(Some("Failed to fetch".into())));
        assert_eq!(
            (unfetched.kind, unfetched.message.as_str()),
            (
                FailureKind::Network,
                "The engine could not be downloaded. Check your connection. Failed to fetch"
            )
        );
        assert!(unfetched.retryable);
        let died = said(WorkerLoss::Died(None));
        assert_eq!(died.kind, FailureKind::Crash);
        assert!(died.message.contains("stopped working"), "{}", died.message);
    }
}
