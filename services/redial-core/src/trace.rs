//! Which watches are traced, and the names of their spans: W3C Trace Context, as far as the domain carries it.
//!
//! A context exists only where a span is exported: an untraced watch has none, and nothing is made for it. Names are computed from what they
//! name, so that a decision that is taken twice gives the same ones.

use std::borrow::Cow;
use std::fmt;
use std::num::{NonZeroU64, NonZeroU128};
use std::time::Duration;

use crate::{Aor, Fence, Pair, UnixMillis};

/// A span of a sampled trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: NonZeroU128,
    span: NonZeroU64,
}

/// What a watch remembers of its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchTrace {
    /// The INVITE that armed it: the root.
    pub armed: TraceContext,
    /// The latest recall.
    pub recall: Option<TraceContext>,
}

impl WatchTrace {
    /// What happens now is part of the latest recall, before the first one of the arming.
    #[must_use]
    pub fn current(&self) -> TraceContext {
        self.recall.unwrap_or(self.armed)
    }
}

impl TraceContext {
    /// The root of a watch's trace, for that share (0.0 to 1.0) of all watches. One pair and fence always get the same answer.
    #[must_use]
    pub fn sample(ratio: f64, pair: &Pair, fence: Fence) -> Option<Self> {
        if ratio <= 0.0 {
            return None;
        }
        let number = fence.0.to_be_bytes();
        let named = |seed| hash(seed, &[pair.callee.as_str().as_bytes(), pair.caller.as_str().as_bytes(), &number]);
        let (high, low) = (named(1), named(2));
        // 53 bits are what a double holds exactly.
        let drawn = (low >> 11) as f64 / (1u64 << 53) as f64;
        (drawn < ratio).then(|| Self::new(u128::from(high) << 64 | u128::from(low), named(3))).flatten()
    }

    /// None when one of the ids is 0, which W3C Trace Context forbids.
    #[must_use]
    pub fn new(trace: u128, span: u64) -> Option<Self> {
        Some(Self { trace: NonZeroU128::new(trace)?, span: NonZeroU64::new(span)? })
    }

    /// A span below this one; `what` and `number` tell it from its siblings.
    #[must_use]
    pub fn child(&self, what: &str, number: u64) -> Self {
        let parent = self.span.get();
        let trace = self.trace.get().to_be_bytes();
        let span = hash(parent, &[&trace, what.as_bytes(), &number.to_be_bytes()]);
        Self { trace: self.trace, span: NonZeroU64::new(span).unwrap_or(NonZeroU64::MIN) }
    }

    #[must_use]
    pub fn trace_id(&self) -> u128 {
        self.trace.get()
    }

    #[must_use]
    pub fn span_id(&self) -> u64 {
        self.span.get()
    }

    /// Reads a `traceparent` (W3C Trace Context section 3.2). None: malformed, or of a trace that is not sampled.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |text: &str, length| {
            (text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
                .then(|| u128::from_str_radix(text, 16).ok())
                .flatten()
        };
        // A later version may append fields, this one must not (section 3.2.4).
        let version = hex(version, 2).filter(|v| *v != 0xff && (*v != 0 || parts.next().is_none()));
        let sampled = hex(flags, 2).is_some_and(|flags| flags & 1 == 1);
        version.filter(|_| sampled)?;
        Self::new(hex(trace, 32)?, u64::try_from(hex(span, 16)?).ok()?)
    }
}

/// The `traceparent` that [`TraceContext::parse`] reads.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Something that was done for a traced watch, told when it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    pub context: TraceContext,
    pub parent: Option<TraceContext>,
    /// What this follows from after hours: the arming.
    pub link: Option<TraceContext>,
    pub name: &'static str,
    pub kind: SpanKind,
    pub start: UnixMillis,
    pub took: Duration,
    pub facts: Vec<(&'static str, Fact)>,
    /// It did not do what it was for.
    pub failed: bool,
}

/// As OpenTelemetry means them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that was answered.
    Server,
    /// A request that was sent.
    Client,
    Internal,
}

/// Value of a span's attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    Word(Cow<'static, str>),
    Number(u64),
}

impl Span {
    /// A span of a watch: names neither of the two but by [`aor_hash`].
    #[must_use]
    pub fn new(name: &'static str, kind: SpanKind, context: TraceContext, parent: Option<TraceContext>, pair: &Pair) -> Self {
        let facts = vec![("redial.callee.hash", Fact::hash(&pair.callee)), ("redial.caller.hash", Fact::hash(&pair.caller))];
        Self { context, parent, link: None, name, kind, start: UnixMillis(0), took: Duration::ZERO, facts, failed: false }
    }

    /// From `start`, for as long as it took.
    #[must_use]
    pub fn at(mut self, start: UnixMillis, took: Duration) -> Self {
        (self.start, self.took) = (start, took);
        self
    }

    #[must_use]
    pub fn word(mut self, key: &'static str, word: impl Into<Cow<'static, str>>) -> Self {
        self.facts.push((key, Fact::Word(word.into())));
        self
    }

    #[must_use]
    pub fn number(mut self, key: &'static str, number: impl Into<u64>) -> Self {
        self.facts.push((key, Fact::Number(number.into())));
        self
    }
}

impl Fact {
    fn hash(aor: &Aor) -> Self {
        Self::Word(format!("{:06x}", aor_hash(aor)).into())
    }
}

/// What a span says instead of an AoR: 24 bits. Spans of one subscriber can be found, but so many numbers share each value that none can be
/// told from it.
#[must_use]
pub fn aor_hash(aor: &Aor) -> u32 {
    (hash(0, &[aor.as_str().as_bytes()]) >> 40) as u32
}

/// FNV-1a with the finaliser of splitmix64, because its low bits alone decide about sampling. No secret is kept by it.
fn hash(seed: u64, parts: &[&[u8]]) -> u64 {
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }
    hash = (hash ^ hash >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ hash >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ hash >> 31
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pair(n: u32) -> Pair {
        Pair { callee: Aor::new("bob@example.com"), caller: Aor::new(format!("{n}@example.com")) }
    }

    #[test]
    fn the_ratio_is_kept_and_the_decision_is_the_same_again() {
        let sampled = |ratio| (0..10_000).filter(|n| TraceContext::sample(ratio, &pair(*n), Fence(7)).is_some()).count();
        assert_eq!((sampled(0.0), sampled(1.0), sampled(f64::NAN)), (0, 10_000, 0));
        assert!((900..1100).contains(&sampled(0.1)), "{}", sampled(0.1));
        let once = TraceContext::sample(1.0, &pair(1), Fence(7));
        assert_eq!(once, TraceContext::sample(1.0, &pair(1), Fence(7)));
        assert_ne!(once, TraceContext::sample(1.0, &pair(1), Fence(8)), "another watch of the pair is another trace");
    }

    #[test]
    fn children_are_of_the_same_trace_and_differ() {
        let root = TraceContext::sample(1.0, &pair(1), Fence(7)).expect("all are sampled");
        let (a, b) = (root.child("recall", 1), root.child("recall", 2));
        assert_eq!(a.trace_id(), root.trace_id());
        assert!(a != b && a != root && a != root.child("INVITE", 1) && a == root.child("recall", 1));
    }

    #[test]
    fn only_a_sampled_traceparent_is_read() {
        let (trace, span) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let read = |version: &str, trace: &str, span: &str, rest: &str| TraceContext::parse(&format!("{version}-{trace}-{span}-{rest}"));
        assert!(read("00", trace, span, "01").is_some());
        assert!(read("cc", trace, span, "01-what-the-future-holds").is_some());
        let zero = "0".repeat(32);
        for (version, trace, span, rest) in [
            ("00", trace, span, "00"),
            ("00", trace, span, "01-more"),
            ("ff", trace, span, "01"),
            ("00", &zero, span, "01"),
            ("00", trace, &zero[..16], "01"),
            ("00", &trace.to_uppercase(), span, "01"),
            ("00", &trace[1..], span, "01"),
            ("00", trace, span, ""),
        ] {
            assert_eq!(read(version, trace, span, rest), None, "{version}-{trace}-{span}-{rest}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(trace in 1u128.., span in 1u64..) {
            let context = TraceContext::new(trace, span);
            prop_assert_eq!(context.and_then(|c| TraceContext::parse(&c.to_string())), context);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = TraceContext::parse(&text);
        }
    }
}
