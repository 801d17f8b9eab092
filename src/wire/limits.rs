//! Every number that bounds what a peer can make us hold or wait for, with its reason.
//!
//! A limit lives here when both programs must agree on it or when a hostile peer could use it;
//! what an operator may want to change is in the configuration instead.

use std::num::NonZeroU32;
use std::time::Duration;

/// Bytes of one request's or response's header section, names and values together.
///
/// Four times nginx's default: Kubernetes bearer tokens, cookies of several single sign-on
/// systems and long label selectors fit. HTTP/1 answers 431 above it.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;

/// Header fields in one request or response; hyper's own default is 100.
pub const MAX_HEADERS: usize = 256;

/// Bytes of a request's path and query: hyper's own cap (`u16::MAX - 1`) rounded down.
pub const MAX_TARGET_BYTES: usize = 32 * 1024;

/// Payload bytes of a HEAD, INFO, TRAILERS or RESET frame: header section, target and identity.
pub const MAX_HEAD_FRAME: usize = MAX_HEADER_BYTES + MAX_TARGET_BYTES + 4 * 1024;

/// Payload bytes of one DATA frame: four TLS records, so that a frame never needs a copy to fit.
pub const MAX_DATA_FRAME: usize = 64 * 1024;

/// Exchanges at once on one carrier that the gateway starts; an excess open is answered 503.
///
/// 200 watches a user and a few dozen users fit; a carrier more is asked for beyond it.
pub const MAX_STREAMS: usize = 1_000;

/// Streams that a peer may have open; one more is refused, and the session lives.
///
/// Above [`MAX_STREAMS`] by what can be closed here and not yet forgotten there.
pub const MAX_PEER_STREAMS: usize = 1_536;

/// Bytes that all streams of one session together may let the peer send unread.
///
/// [`MAX_PEER_STREAMS`] of yamux's default window of 256 KiB take 384 MiB; the rest is for windows
/// that grow to the bandwidth-delay product.
pub const MAX_SESSION_WINDOW: usize = 512 * 1024 * 1024;

/// Bytes that a new stream may bring unread where both ends are ours: a quarter of yamux's default.
/// Windows grow within round trips; what they begin with is held for every stream, however idle.
pub const FIRST_WINDOW: u32 = 64 * 1024;

/// The least and the most that a peer may say its first window is.
pub const MIN_FIRST_WINDOW: u32 = 16 * 1024;
/// See [`MIN_FIRST_WINDOW`].
pub const MAX_FIRST_WINDOW: u32 = 16 * 1024 * 1024;

/// Idle streams that the gateway keeps open per carrier for the next requests.
pub const MAX_IDLE_STREAMS: usize = 64;

/// Bytes of one control message: an application manifest of 900 KiB as JSON text fits.
pub const MAX_CONTROL_MESSAGE: usize = 2 * 1024 * 1024;

/// Control messages that wait to be written to one agent; all of them are small.
pub const CONTROL_QUEUE: usize = 64;

/// Control messages a minute that the gateway takes of one agent: the contract's rate.
pub const CONTROL_MESSAGES: NonZeroU32 = NonZeroU32::new(1_000).unwrap();

/// Control messages that may come at once: the contract's burst.
pub const CONTROL_BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();

/// Control messages a minute that an agent sends beside heartbeats and its drain, which wait for
/// nothing. One heartbeat a second, the fastest that a gateway can ask for, still fits below
/// [`CONTROL_MESSAGES`].
pub const AGENT_MESSAGES: NonZeroU32 = NonZeroU32::new(900).unwrap();

/// Control messages that an agent sends at once. What the network holds back arrives closer
/// together than it was sent: this far below [`CONTROL_BURST`], a second of delay does no harm.
pub const AGENT_BURST: NonZeroU32 = NonZeroU32::new(80).unwrap();

/// A gateway that refuses messages slows an agent down, to no less than this many a minute: one
/// that refuses these too can not be served.
pub const AGENT_MESSAGES_MIN: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// WebSocket messages a minute, pings and pongs among them, that the gateway reads of one agent;
/// what comes faster waits in the agent's socket. Far above [`CONTROL_MESSAGES`], so that those
/// beyond it are answered and not delayed, and what a flood costs is still bounded.
pub const CONTROL_READS: NonZeroU32 = NonZeroU32::new(6_000).unwrap();

/// WebSocket messages that are read at once: a burst, the answer to it, and pings between.
pub const CONTROL_READ_BURST: NonZeroU32 = NonZeroU32::new(600).unwrap();

/// Errors a minute that answer control messages: one a second tells what a flood of them would.
pub const CONTROL_COMPLAINTS: NonZeroU32 = NonZeroU32::new(60).unwrap();

/// Bytes of a message's id that an error repeats; an id is short, or no id of an agent of ours.
pub const MAX_ECHOED_ID: usize = 128;

/// Bytes of output in one control message, before they are encoded: a few of them are less than a
/// connection's buffers, so that a command's output never keeps a heartbeat waiting for long.
pub const MAX_OUTPUT: usize = 32 * 1024;

/// Events in one message: about 100 KiB at the size that they mostly have.
pub const MAX_EVENT_BATCH: usize = 200;

/// Bytes of a manifest: with its envelope it fits into [`MAX_CONTROL_MESSAGE`] even where every
/// second byte has to be escaped, and etcd takes no object above 1.5 MiB.
pub const MAX_MANIFEST: usize = 1024 * 1024;

/// Agents of one cluster that may be connected at once: two of a rolling update, two to spare.
pub const MAX_AGENTS_PER_CLUSTER: usize = 4;

/// Probes of one cluster at once: an operator's, and one of a script.
pub const MAX_PROBES_PER_CLUSTER: usize = 2;

/// How long a probe's control channel, and then its carrier, may live: as long as its ticket.
pub const PROBE_LIFETIME: Duration = TICKET_LIFETIME;

/// Silence on a control channel after which the peer counts as gone.
pub const CONTROL_SILENCE: Duration = Duration::from_secs(10);

/// How often each side sends a WebSocket ping: two may be lost before [`CONTROL_SILENCE`].
pub const CONTROL_PING: Duration = Duration::from_secs(3);

/// Default time between heartbeats that the gateway tells its agents.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);

/// TCP gives up on unacknowledged bytes after this long, on sockets between the two programs and to
/// HTTP targets. Linux counts a closed window too: on those of users and raw forwards it would cut
/// whoever stops to read.
pub const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

/// Validity of the ticket by which an agent opens one carrier.
pub const TICKET_LIFETIME: Duration = Duration::from_secs(30);

/// Tickets that may be outstanding for one agent.
pub const MAX_TICKETS_PER_AGENT: usize = 64;

/// Carriers that one worker of the gateway has of one agent, at most and by default. Each is a
/// connection with a congestion window of its own; more than four gain little over that.
pub const MAX_CARRIERS: usize = 4;

/// Carriers that an agent holds or dials, whatever it is asked for: [`MAX_CARRIERS`] for each of
/// 64 workers, twice while better ones take their place.
pub const MAX_AGENT_CARRIERS: usize = 512;

/// A kind of carrier that works is being tried this soon after others were tried in vain.
pub const CARRIER_FALLBACK: Duration = Duration::from_secs(3);

/// A carrier of a kind that is not the best one has that one tried again after this long, and up
/// to a tenth more: with [`CARRIER_FALLBACK`] within a minute.
pub const CARRIER_CLIMB: Duration = Duration::from_secs(45);

/// Payload of a WebSocket's message: header and payload together are four TLS records, so that no
/// small one follows.
pub const WEBSOCKET_MESSAGE: usize = 64 * 1024 - 8;

/// A request waits this long for a carrier of an agent that is connected, or just was.
pub const CARRIER_WAIT: Duration = Duration::from_secs(5);

/// An agent that left so recently is expected back: its requests wait for it.
pub const RECONNECT_GRACE: Duration = Duration::from_secs(15);

/// TLS handshake, from accept or connect to the end.
pub const TLS_HANDSHAKE: Duration = Duration::from_secs(10);

/// TCP connect to a gateway or a target.
pub const CONNECT: Duration = Duration::from_secs(5);

/// A request head must arrive whole within this; also how long a kept connection may idle.
pub const HEAD_READ: Duration = Duration::from_secs(60);

/// How long the gateway withholds a body whose client waits for `100 Continue` when the target
/// says neither yes nor no (RFC 9110, section 10.1.1: a client must not wait for ever either).
pub const EXPECT_CONTINUE: Duration = Duration::from_secs(1);

/// A relay of which one side has ended may stay silent this long before it is cut.
pub const HALF_CLOSED_IDLE: Duration = Duration::from_secs(300);

/// How long the gateway waits for a response's head while no byte of the request moves: longer than
/// any of an agent's own deadlines, for an agent that keeps to none.
pub const ANSWER: Duration = Duration::from_secs(900);

/// A request's body that moves no byte for this long, before its response has begun, is given up;
/// long, since a stream of messages may pause.
pub const UPLOAD_IDLE: Duration = Duration::from_secs(600);

/// Idle connections to one target that the agent keeps. With fewer than there are requests at once,
/// many a request pays for a connection of its own.
pub const MAX_IDLE_ORIGINS: usize = 256;

/// How long the agent keeps an idle connection to a target: below common servers' 60 s and more.
pub const ORIGIN_IDLE: Duration = Duration::from_secs(45);

/// Client connections that one worker of the gateway serves at once.
pub const MAX_CONNECTIONS_PER_WORKER: usize = 16_384;

/// Concurrent requests of one HTTP/2 client connection.
pub const MAX_H2_STREAMS: u32 = 256;

/// Bytes that one stream of a QUIC carrier may bring unread: four times what is on its way at 200
/// Mbit/s over 100 ms. What comes behind a lost packet waits for it, and at 1 % some packets are lost
/// again when they are sent again.
pub const QUIC_STREAM_WINDOW: usize = 10 * 1024 * 1024;

/// Bytes of all streams of a QUIC carrier that are sent and not acknowledged: as for the window of
/// a stream, and room for what is written meanwhile.
pub const QUIC_SEND_WINDOW: usize = 12 * 1024 * 1024;

/// How often a QUIC carrier that is quiet says that it lives.
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Silence after which the peer of a QUIC carrier counts as gone: one keep-alive may be lost.
pub const QUIC_IDLE: Duration = Duration::from_secs(10);

/// How long a QUIC carrier that is closed waits for what streams have handed over to arrive: a
/// few retransmissions on a slow path.
pub const QUIC_LINGER: Duration = Duration::from_secs(3);

/// QUIC handshakes under way above which a peer must show that it is at its address (RFC 9000,
/// section 8.1.2): a forged address costs no state from there on.
pub const QUIC_RETRY_ABOVE: usize = 64;

/// QUIC handshakes under way at once; more are refused. A rush of agents after a restart fits.
pub const MAX_QUIC_HANDSHAKES: usize = 1_024;
/// Bytes of one datagram: the most that UDP carries (RFC 9298, section 5).
pub const MAX_DATAGRAM: usize = 65_527;

/// Bytes of datagrams that wait for a tunnel that is behind; more are dropped. Four of the largest,
/// or a burst of 170 of the size that fits an Ethernet frame: what waits longer is of no use.
pub const MAX_DATAGRAMS_WAITING: usize = 256 * 1024;

/// Senders that one UDP listener tells apart, each with an exchange of its own; of more, datagrams
/// are dropped.
pub const MAX_FLOWS: usize = 1_024;

/// Connections at once through one fixed port, of each worker of the gateway.
pub const MAX_PORT_CONNECTIONS: usize = 1_024;

/// Connections at once through `pipeops-gateway forward`; more wait to be accepted.
pub const MAX_FORWARD_CONNECTIONS: usize = 256;

/// How long a fixed port and `pipeops-gateway forward` wait until the target is connected: longer
/// than [`CARRIER_WAIT`] and [`CONNECT`] together.
pub const FORWARD_OPEN: Duration = Duration::from_secs(30);

/// How long an exchange that was ended for idleness waits for the other side's END.
pub const LINGER: Duration = Duration::from_secs(5);
