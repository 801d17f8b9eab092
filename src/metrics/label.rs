//! Labels whose values are all known before anything is counted.

use prometheus::core::{MetricVec, MetricVecBuilder};

use crate::wire::carrier::CarrierKind;
use crate::wire::control::Message;
use crate::wire::error::ErrorCode;

/// One label; a value of the type is a value of the label.
pub trait Label: Copy + 'static {
    /// The label's name.
    const NAME: &'static str;

    /// Every value, each at its [`Label::index`].
    fn all() -> Vec<Self>;

    /// How many there are.
    fn count() -> usize;

    /// The place in [`Label::all`].
    fn index(self) -> usize;

    /// The value as it is written.
    fn text(self) -> &'static str;
}

/// One to three labels.
pub trait Labels: Copy {
    /// Names and values, for the catalogue.
    fn describe() -> Vec<(&'static str, Vec<&'static str>)>;

    /// Every combination, each at its [`Labels::index`].
    fn all() -> Vec<Self>;

    /// The place in [`Labels::all`].
    fn index(self) -> usize;

    /// The values, in the order of the names.
    fn texts(self) -> Vec<&'static str>;
}

impl<A: Label> Labels for A {
    fn describe() -> Vec<(&'static str, Vec<&'static str>)> {
        let texts = <A as Label>::all().into_iter().map(A::text).collect();
        vec![(A::NAME, texts)]
    }

    fn all() -> Vec<Self> {
        <A as Label>::all()
    }

    fn index(self) -> usize {
        Label::index(self)
    }

    fn texts(self) -> Vec<&'static str> {
        vec![self.text()]
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn describe() -> Vec<(&'static str, Vec<&'static str>)> {
        [A::describe(), B::describe()].concat()
    }

    fn all() -> Vec<Self> {
        let firsts = <A as Label>::all().into_iter();
        firsts
            .flat_map(|a| <B as Label>::all().into_iter().map(move |b| (a, b)))
            .collect()
    }

    fn index(self) -> usize {
        Label::index(self.0) * B::count() + Label::index(self.1)
    }

    fn texts(self) -> Vec<&'static str> {
        vec![self.0.text(), self.1.text()]
    }
}

impl<A: Label, B: Label, C: Label> Labels for (A, B, C) {
    fn describe() -> Vec<(&'static str, Vec<&'static str>)> {
        [A::describe(), <(B, C)>::describe()].concat()
    }

    fn all() -> Vec<Self> {
        let firsts = <A as Label>::all().into_iter();
        firsts
            .flat_map(|a| <(B, C)>::all().into_iter().map(move |(b, c)| (a, b, c)))
            .collect()
    }

    fn index(self) -> usize {
        Label::index(self.0) * B::count() * C::count() + (self.1, self.2).index()
    }

    fn texts(self) -> Vec<&'static str> {
        [vec![self.0.text()], (self.1, self.2).texts()].concat()
    }
}

/// A metric for each combination of labels, made beforehand: getting one takes no lock and no
/// look-up by name, and every series exists from the start.
#[derive(Debug)]
pub struct Table<M, L> {
    metrics: Vec<M>,
    labels: std::marker::PhantomData<fn(L)>,
}

impl<M, L: Labels> Table<M, L> {
    /// Makes the metrics; `first` are values of labels that stand before those of `L`.
    pub(super) fn of<T>(family: &MetricVec<T>, first: &[&str]) -> prometheus::Result<Self>
    where
        T: MetricVecBuilder<M = M>,
        M: prometheus::core::Metric,
    {
        let metrics = L::all().into_iter().map(|labels| {
            let values = [first, &labels.texts()].concat();
            family.get_metric_with_label_values(&values)
        });
        Ok(Self {
            metrics: metrics.collect::<Result<_, _>>()?,
            labels: std::marker::PhantomData,
        })
    }

    /// The metric with these labels.
    #[must_use]
    pub fn get(&self, labels: L) -> &M {
        &self.metrics[labels.index()]
    }

    /// All of them, in the order of [`Labels::all`].
    pub fn iter(&self) -> impl Iterator<Item = &M> {
        self.metrics.iter()
    }
}

/// Declares an enum that is a [`Label`].
macro_rules! label {
    ($(#[$about:meta])* $vis:vis $name:ident as $label:literal { $($(#[$doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        $vis enum $name { $($(#[$doc])* $value,)+ }

        impl $crate::metrics::Label for $name {
            const NAME: &'static str = $label;

            fn all() -> Vec<Self> {
                vec![$(Self::$value,)+]
            }

            fn count() -> usize {
                [$($text,)+].len()
            }

            fn index(self) -> usize {
                self as usize
            }

            fn text(self) -> &'static str {
                match self { $(Self::$value => $text,)+ }
            }
        }
    };
}
#[cfg(any(feature = "agent", feature = "gateway"))]
pub(crate) use label;

impl Label for ErrorCode {
    const NAME: &'static str = "code";

    fn all() -> Vec<Self> {
        Self::all().collect()
    }

    fn count() -> usize {
        Self::all().count()
    }

    fn index(self) -> usize {
        self as usize
    }

    fn text(self) -> &'static str {
        self.as_str()
    }
}

impl Label for CarrierKind {
    const NAME: &'static str = "kind";

    fn all() -> Vec<Self> {
        Self::ALL.to_vec()
    }

    fn count() -> usize {
        Self::ALL.len()
    }

    fn index(self) -> usize {
        self as usize
    }

    fn text(self) -> &'static str {
        self.as_str()
    }
}

label! {
    /// Which way bytes or messages went, as this program sees it.
    pub Direction as "direction" {
        /// Into the tunnel, to the other program.
        Sent = "sent",
        /// Out of the tunnel, from the other program.
        Received = "received",
    }
}

label! {
    /// Why a carrier ended.
    pub CarrierEnd as "reason" {
        /// One side closed it properly.
        Closed = "closed",
        /// Its connection failed.
        Failed = "failed",
        /// The token by which it was opened has ended.
        Revoked = "revoked",
    }
}

label! {
    /// How a request ended.
    pub Outcome as "outcome" {
        /// Both directions came to their end.
        Complete = "complete",
        /// The client went away first.
        ClientGone = "client_gone",
        /// The other side gave up after the response had begun.
        Cut = "cut",
        /// The token ended first.
        Revoked = "revoked",
        /// Answered with an error of the tunnel's own.
        Refused = "refused",
    }
}

label! {
    /// Why a datagram was lost.
    pub Dropped as "reason" {
        /// The side that it goes to is behind, and enough wait for it.
        Behind = "behind",
        /// It is larger than UDP allows.
        TooLarge = "too_large",
        /// The listener has as many senders as it tells apart.
        TooManySenders = "too_many_senders",
        /// The system does not take it: it does not fit the way, or there is none.
        Undeliverable = "undeliverable",
    }
}

label! {
    /// The type of a control message.
    pub MessageType as "type" {
        /// `welcome`
        Welcome = "welcome",
        /// `open_carrier`
        OpenCarrier = "open_carrier",
        /// `carrier_failed`
        CarrierFailed = "carrier_failed",
        /// `want_carrier`
        WantCarrier = "want_carrier",
        /// `heartbeat`
        Heartbeat = "heartbeat",
        /// `cluster_status`
        ClusterStatus = "cluster_status",
        /// `event`
        Event = "event",
        /// `event_batch`
        EventBatch = "event_batch",
        /// `event_summary`
        EventSummary = "event_summary",
        /// `deploy`
        Deploy = "deploy",
        /// `prune`
        Prune = "prune",
        /// `exec`
        Exec = "exec",
        /// `logs`
        Logs = "logs",
        /// `ack`
        Ack = "ack",
        /// `deploy_status`
        DeployStatus = "deploy_status",
        /// `deploy_result`
        DeployResult = "deploy_result",
        /// `exec_output`
        ExecOutput = "exec_output",
        /// `exec_input`
        ExecInput = "exec_input",
        /// `exec_result`
        ExecResult = "exec_result",
        /// `logs_output`
        LogsOutput = "logs_output",
        /// `logs_end`
        LogsEnd = "logs_end",
        /// `credit`
        Credit = "credit",
        /// `cancel`
        Cancel = "cancel",
        /// `drain`
        Drain = "drain",
        /// `error`
        Error = "error",
        /// Any above the rate that is taken: not looked at.
        Refused = "refused",
        /// Any that this version does not know.
        Unknown = "unknown",
        /// What is no message at all.
        Malformed = "malformed",
    }
}

impl From<&Message> for MessageType {
    fn from(message: &Message) -> Self {
        match message {
            Message::Welcome(_) => Self::Welcome,
            Message::OpenCarrier(_) => Self::OpenCarrier,
            Message::CarrierFailed(_) => Self::CarrierFailed,
            Message::WantCarrier(_) => Self::WantCarrier,
            Message::Heartbeat(_) => Self::Heartbeat,
            Message::ClusterStatus(_) => Self::ClusterStatus,
            Message::Event(_) => Self::Event,
            Message::EventBatch(_) => Self::EventBatch,
            Message::EventSummary(_) => Self::EventSummary,
            Message::Deploy(_) => Self::Deploy,
            Message::Prune(_) => Self::Prune,
            Message::Exec(_) => Self::Exec,
            Message::Logs(_) => Self::Logs,
            Message::Ack(_) => Self::Ack,
            Message::DeployStatus(_) => Self::DeployStatus,
            Message::DeployResult(_) => Self::DeployResult,
            Message::ExecOutput(_) => Self::ExecOutput,
            Message::ExecInput(_) => Self::ExecInput,
            Message::ExecResult(_) => Self::ExecResult,
            Message::LogsOutput(_) => Self::LogsOutput,
            Message::LogsEnd(_) => Self::LogsEnd,
            Message::Credit(_) => Self::Credit,
            Message::Cancel(_) => Self::Cancel,
            Message::Drain(_) => Self::Drain,
            Message::Error(_) => Self::Error,
        }
    }
}

label! {
    /// Where bytes wait to be sent.
    pub Queue as "queue" {
        /// Frames of an exchange that its stream does not take yet.
        Exchange = "exchange",
        /// Frames of all streams that the carrier's connection does not take yet.
        Carrier = "carrier",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_found_where_its_index_says() {
        fn check<L: Labels>() {
            let all = L::all();
            assert!(!all.is_empty());
            for (at, labels) in all.into_iter().enumerate() {
                assert_eq!(labels.index(), at);
            }
        }
        check::<ErrorCode>();
        check::<MessageType>();
        check::<(MessageType, Direction)>();
        check::<(CarrierKind, CarrierEnd)>();
    }
}
