//! Requests to the platform.

use prometheus::{Histogram, IntCounter};
use tokio::time::Instant;

use crate::agent::dial::DialError;
use crate::metrics::{Registry, Table, label};

/// Upper bounds for a request's duration; 0.1, 0.5 and 1.0 are the contract's.
const BUCKETS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Requests to the platform.
#[derive(Debug)]
pub(in crate::agent) struct ApiMeters {
    requests: Table<IntCounter, (Method, Endpoint, Answer)>,
    duration: Histogram,
    errors: Table<IntCounter, ApiError>,
}

label! {
    /// The method of a request to the platform.
    pub(in crate::agent) Method as "method" {
        /// The only one.
        Get = "GET",
    }
}

label! {
    /// What a request to the platform asks for.
    pub(in crate::agent) Endpoint as "endpoint" {
        /// A control channel.
        Connect = "/v1/agent/connect",
        /// A data carrier.
        Carrier = "/v1/agent/carrier",
    }
}

label! {
    /// What the platform answered.
    pub(in crate::agent) Answer as "status" {
        /// Connected.
        Switching = "101",
        /// Bad request.
        BadRequest = "400",
        /// The token or ticket is refused.
        Unauthorized = "401",
        /// It is somebody else's.
        Forbidden = "403",
        /// Not a gateway, most likely.
        NotFound = "404",
        /// Too many agents or attempts.
        TooMany = "429",
        /// A fault of the gateway.
        Internal = "500",
        /// A proxy's fault.
        BadGateway = "502",
        /// Not now.
        Unavailable = "503",
        /// A proxy's time-out.
        TimedOut = "504",
        /// Any other.
        Other = "other",
        /// No answer.
        Error = "error",
    }
}

label! {
    /// Why a request to the platform came to nothing.
    pub(in crate::agent) ApiError as "type" {
        /// The gateway says no.
        Refused = "refused",
        /// Nobody answers, or the connection broke.
        Unreachable = "unreachable",
        /// The proxy on the way says no.
        Proxy = "proxy",
        /// The certificate does not convince.
        Certificate = "certificate",
        /// Something of our own is missing.
        Local = "local",
        /// What was answered is not what the protocol says.
        Protocol = "protocol",
    }
}

impl ApiMeters {
    pub(super) fn new(registry: &mut Registry) -> prometheus::Result<Self> {
        Ok(Self {
            requests: registry.counters("pipeops_api_requests_total", "Total API requests")?,
            duration: registry.histogram(
                "pipeops_api_request_duration_seconds",
                "API request duration",
                &BUCKETS,
            )?,
            errors: registry.counters("pipeops_api_errors_total", "Total API errors by type")?,
        })
    }

    /// Begins to count a request.
    pub(in crate::agent) fn request(&self, endpoint: Endpoint) -> ApiRequest<'_> {
        ApiRequest {
            meters: self,
            endpoint,
            begun: Instant::now(),
            status: Answer::Error,
        }
    }

    /// Counts an error.
    pub(in crate::agent) fn failed(&self, error: &DialError) {
        self.error(match error {
            DialError::Refused(_) => ApiError::Refused,
            DialError::Unreachable(_) => ApiError::Unreachable,
            DialError::Proxy(_) => ApiError::Proxy,
            DialError::Certificate(_) => ApiError::Certificate,
            DialError::Local(_) => ApiError::Local,
        });
    }

    /// Counts an error of this type.
    pub(in crate::agent) fn error(&self, error: ApiError) {
        self.errors.get(error).inc();
    }
}

/// A request to the platform; counted when dropped.
pub(in crate::agent) struct ApiRequest<'a> {
    meters: &'a ApiMeters,
    endpoint: Endpoint,
    begun: Instant,
    status: Answer,
}

impl ApiRequest<'_> {
    /// Notes the status that was answered.
    pub(in crate::agent) fn answered(mut self, status: u16) {
        self.status = match status {
            101 => Answer::Switching,
            400 => Answer::BadRequest,
            401 => Answer::Unauthorized,
            403 => Answer::Forbidden,
            404 => Answer::NotFound,
            429 => Answer::TooMany,
            500 => Answer::Internal,
            502 => Answer::BadGateway,
            503 => Answer::Unavailable,
            504 => Answer::TimedOut,
            _ => Answer::Other,
        };
    }
}

impl Drop for ApiRequest<'_> {
    fn drop(&mut self) {
        let labels = (Method::Get, self.endpoint, self.status);
        self.meters.requests.get(labels).inc();
        let took = self.begun.elapsed();
        self.meters.duration.observe(took.as_secs_f64());
    }
}
