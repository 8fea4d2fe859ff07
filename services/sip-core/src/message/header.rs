//! Header names that this project uses, with their compact forms.

macro_rules! headers {
    ($($variant:ident $lower:literal $(| $compact:literal)? => $name:literal,)*) => {
        /// Recognised case-insensitively, in full or compact form (RFC 3261 section 7.3.3). Everything else is `Other` and is still kept.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[rustfmt::skip]
        pub enum Header { $($variant,)* Other }

        impl Header {
            /// Every recognised header.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The full name as the RFCs spell it; empty for `Other`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                    Self::Other => "",
                }
            }

            /// Compact forms are names too.
            #[must_use]
            pub fn from_name(name: &[u8]) -> Self {
                let mut lower = [0u8; LONGEST];
                let Some(lower) = lower.get_mut(..name.len()) else { return Self::Other };
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                match &*lower {
                    $($lower $(| $compact)? => Self::$variant,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

/// Length of the longest name in the table.
const LONGEST: usize = 19;

headers! {
    Via b"via" | b"v" => "Via",
    From b"from" | b"f" => "From",
    To b"to" | b"t" => "To",
    CallId b"call-id" | b"i" => "Call-ID",
    CSeq b"cseq" => "CSeq",
    Contact b"contact" | b"m" => "Contact",
    MaxForwards b"max-forwards" => "Max-Forwards",
    Route b"route" => "Route",
    RecordRoute b"record-route" => "Record-Route",
    Path b"path" => "Path",
    ServiceRoute b"service-route" => "Service-Route",
    Expires b"expires" => "Expires",
    MinExpires b"min-expires" => "Min-Expires",
    ContentLength b"content-length" | b"l" => "Content-Length",
    ContentType b"content-type" | b"c" => "Content-Type",
    Authorization b"authorization" => "Authorization",
    ProxyAuthorization b"proxy-authorization" => "Proxy-Authorization",
    WwwAuthenticate b"www-authenticate" => "WWW-Authenticate",
    ProxyAuthenticate b"proxy-authenticate" => "Proxy-Authenticate",
    AuthenticationInfo b"authentication-info" => "Authentication-Info",
    Require b"require" => "Require",
    ProxyRequire b"proxy-require" => "Proxy-Require",
    Supported b"supported" | b"k" => "Supported",
    Unsupported b"unsupported" => "Unsupported",
    Allow b"allow" => "Allow",
    Accept b"accept" => "Accept",
    Event b"event" | b"o" => "Event",
    SubscriptionState b"subscription-state" => "Subscription-State",
    ReferTo b"refer-to" | b"r" => "Refer-To",
    ReferSub b"refer-sub" => "Refer-Sub",
    ReferredBy b"referred-by" | b"b" => "Referred-By",
    UserAgent b"user-agent" => "User-Agent",
    Server b"server" => "Server",
    RetryAfter b"retry-after" => "Retry-After",
    CallInfo b"call-info" => "Call-Info",
    AllowEvents b"allow-events" | b"u" => "Allow-Events",
    Date b"date" => "Date",
    Warning b"warning" => "Warning",
    Reason b"reason" => "Reason",
}

impl Header {
    /// Whether several values may stand in one line, separated by commas (RFC 3261 section 7.3.1). Challenges and credentials have commas of
    /// their own and are never split; Date has one too.
    #[must_use]
    pub fn is_list(self) -> bool {
        use Header::*;
        matches!(
            self,
            Via | Contact
                | Route
                | RecordRoute
                | Path
                | ServiceRoute
                | Require
                | ProxyRequire
                | Supported
                | Unsupported
                | Allow
                | Accept
                | AllowEvents
                | CallInfo
                | Warning
                | Reason
        )
    }

    /// A bit of its own in a set of headers.
    pub(crate) fn bit(self) -> u64 {
        1 << (self as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_recognised_whatever_its_case() {
        for &header in Header::ALL {
            assert_eq!(Header::from_name(header.name().as_bytes()), header);
            assert_eq!(Header::from_name(header.name().to_uppercase().as_bytes()), header);
            assert!(header.name().len() <= LONGEST);
        }
        assert!(Header::ALL.len() < 64, "each has a bit in a u64");
    }

    #[test]
    fn compact_names_are_the_registered_ones() {
        let compact = [
            ("v", Header::Via),
            ("f", Header::From),
            ("T", Header::To),
            ("i", Header::CallId),
            ("M", Header::Contact),
            ("l", Header::ContentLength),
            ("c", Header::ContentType),
            ("k", Header::Supported),
            ("o", Header::Event),
            ("r", Header::ReferTo),
            ("b", Header::ReferredBy),
            ("u", Header::AllowEvents),
            ("s", Header::Other),
            ("C%6Fntact", Header::Other),
            ("", Header::Other),
            ("A-Name-That-Is-Longer-Than-Any", Header::Other),
        ];
        for (name, header) in compact {
            assert_eq!(Header::from_name(name.as_bytes()), header, "{name}");
        }
    }
}
