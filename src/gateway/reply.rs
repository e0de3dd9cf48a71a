//! The result of a request: the response that its sender gets, or what is still to be done for one.
use std::sync::Arc;

use http::{Method, StatusCode};

use crate::config::presets::RefusedBody;
use crate::config::snapshot::{Acknowledgement, Pass, RefusedAnswer, WebhookRoute};
use crate::delivery::Answer;
use crate::gateway::active_config::ActivePass;
use crate::refusal::Refusal;
use crate::request::RequestHead;
use crate::telemetry::{Acceptance, Ended};
use crate::verify::handshake::HandshakeResponse;

/// The methods that a pass route without a list of methods accepts, as far as they have names.
const PASSED: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// The result of a request that is let through.
#[derive(Debug)]
pub(super) enum Reply {
    /// The upstream's response.
    Forwarded(Answer),
    /// The delivery is stored and will be delivered later.
    Accepted(Receipt),
    /// The delivery is a duplicate of one that was delivered.
    Duplicate(Acknowledgement),
    /// The gateway's response to a handshake.
    Handshake(HandshakeResponse),
    /// The request is to be streamed to its upstream.
    Pass(Arc<ActivePass>, Box<RequestHead>),
}

impl Reply {
    /// Returns whether the sender need not send the request again.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Forwarded(answer) => answer.status.is_success(),
            Self::Accepted(_) | Self::Duplicate(_) | Self::Handshake(_) | Self::Pass(..) => true,
        }
    }
}

/// The response to a delivery that is stored.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    /// The response.
    pub(super) answer: Acknowledgement,
    /// The reason why the delivery is stored.
    pub(super) acceptance: Acceptance,
}

/// A refusal, and the response that its sender gets.
#[derive(Clone, Debug)]
pub(super) struct RefusalResponse {
    /// The refusal.
    pub(super) refusal: Refusal,
    /// The status of the response.
    pub(super) status: StatusCode,
    /// The kind of body of the response.
    pub(super) body: RefusedBody,
    /// The methods of the route, for 405.
    pub(super) allow: Option<String>,
}

impl From<Refusal> for RefusalResponse {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            status: refusal.status(),
            body: RefusedBody::Json,
            allow: None,
        }
    }
}

impl RefusalResponse {
    /// Returns the response to a refused request for a webhook route.
    pub(super) fn of_webhook(refusal: Refusal, webhook: &WebhookRoute) -> Self {
        let response = Self::from(refusal);
        let response = if let Refusal::NotAuthentic(_) = refusal {
            let RefusedAnswer { status, body } = webhook.refused;
            Self {
                status,
                body,
                ..response
            }
        } else {
            response
        };
        response.with_methods(&webhook.methods)
    }

    /// Returns the response to a refused request for a pass route.
    pub(super) fn of_pass(refusal: Refusal, pass: &Pass) -> Self {
        Self::from(refusal).with_methods(pass.methods.as_deref().unwrap_or(&PASSED))
    }

    fn with_methods(self, methods: &[Method]) -> Self {
        let allow = (self.status == StatusCode::METHOD_NOT_ALLOWED).then(|| {
            let names: Vec<_> = methods.iter().map(Method::as_str).collect();
            names.join(", ")
        });
        Self { allow, ..self }
    }
}

/// Returns what the record of a request says about its end.
pub(super) fn ended(decided: &Result<Reply, RefusalResponse>) -> Ended {
    match decided {
        Ok(Reply::Forwarded(answer)) => Ended::Forwarded(answer.status),
        Ok(Reply::Accepted(receipt)) => Ended::Accepted(receipt.answer.status, receipt.acceptance),
        Ok(Reply::Duplicate(answer)) => Ended::Duplicate(answer.status),
        Ok(Reply::Handshake(_)) => Ended::Handshake,
        Ok(Reply::Pass(..)) => Ended::Abandoned,
        Err(refused) => Ended::Refused {
            refusal: refused.refusal,
            status: refused.status,
        },
    }
}
