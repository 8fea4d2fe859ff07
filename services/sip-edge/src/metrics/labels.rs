//! The words that counters are labelled with.

use sip_core::Method;

/// Methods as label values; anything else is `other`, so that a peer cannot make up labels.
#[rustfmt::skip]
pub(super) const METHODS: [&str; 15] = [
    "REGISTER", "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REFER", "NOTIFY", "SUBSCRIBE", "MESSAGE", "PUBLISH", "INFO", "UPDATE", "PRACK", "other",
];

pub(super) fn method_index(method: Method<'_>) -> usize {
    match method {
        Method::Register => 0,
        Method::Invite => 1,
        Method::Ack => 2,
        Method::Cancel => 3,
        Method::Bye => 4,
        Method::Options => 5,
        Method::Refer => 6,
        Method::Notify => 7,
        Method::Subscribe => 8,
        Method::Message => 9,
        Method::Publish => 10,
        Method::Info => 11,
        Method::Update => 12,
        Method::Prack => 13,
        Method::Other(_) => 14,
    }
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$item_doc])* $item),+ }

        impl $name {
            pub const ALL: [Self; [$(Self::$item),+].len()] = [$(Self::$item),+];

            /// The label value.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$item => $word),+ }
            }
        }
    };
}

words! {
    /// Why a received message was dropped without an answer (P8).
    DropReason {
        /// No SIP message at all.
        NotSip = "not_sip",
        TooLarge = "too_large",
        /// A response that RFC 3261 does not allow.
        InvalidResponse = "invalid_response",
        /// A response to nothing that we sent.
        NoTransaction = "no_transaction",
        /// An ACK to nothing that we answered, or that has nowhere to go.
        StrayAck = "stray_ack",
        /// A request that cannot even be answered with an error.
        Unanswerable = "unanswerable",
        /// An answer of the coordinator that came too late.
        LateReply = "late_reply",
    }
}

words! {
    /// Who made a response that is sent: an alert about this edge must not go off by what others answer.
    Origin {
        Edge = "edge",
        /// A phone or a server upstream.
        Forwarded = "forwarded",
    }
}

words! {
    /// What became of a request for an AoR of ours.
    Outcome {
        Online = "online",
        /// 480 with a grant.
        OfflineWatched = "offline_watched",
        /// Plain 480.
        Offline = "offline",
        /// Passed to a server upstream.
        Upstream = "upstream",
        /// The coordinator or its store was away; routed from what this worker knew (P6).
        FromMemory = "from_memory",
        /// The coordinator or its store was away and nothing was known: plain 480 (P6).
        Refused = "refused",
    }
}

words! {
    /// Why a recall that a coordinator ordered was not made.
    OrderDrop {
        /// The same order again (P3).
        Repeated = "repeated",
        /// Older than an order seen for the pair (P3).
        Outdated = "outdated",
        /// Too many recalls at a time; the claim's lease brings the watch back.
        TableFull = "table_full",
    }
}
