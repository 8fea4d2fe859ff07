//! Why a REGISTER is refused, and the one table of what is answered.

/// A refused REGISTER. The text is the reason phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A mandatory header is missing or unreadable.
    #[error("Bad Request")]
    Malformed,
    #[error("To Is Not A SIP URI")]
    NotAnAor,
    /// No address-of-record of our domains (RFC 3261 section 10.3 step 5).
    #[error("Not Found")]
    NotOurs,
    /// Somebody else's AoR (step 4).
    #[error("Forbidden")]
    NotOwn,
    /// `*` with other contacts or without `Expires: 0` (step 6).
    #[error("Wildcard Contact Needs Expires 0 And No Other Contact")]
    BadStar,
    /// Unreadable, or no sip or sips URI.
    #[error("Bad Contact")]
    BadContact,
    #[error("Bad Path")]
    BadPath,
    /// Path without `Supported: path` (RFC 3327 section 5.3).
    #[error("Bad Extension")]
    PathNotSupported,
    /// More or larger bindings than one REGISTER may bring.
    #[error("Too Many Or Too Large Contacts")]
    TooMuch,
    /// Step 7.
    #[error("Interval Too Brief")]
    TooBrief {
        /// Seconds; goes into Min-Expires.
        min: u64,
    },
}

impl Refusal {
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Malformed | Self::NotAnAor | Self::BadStar | Self::BadContact | Self::BadPath => 400,
            Self::NotOwn | Self::TooMuch => 403,
            Self::NotOurs => 404,
            Self::PathNotSupported => 420,
            Self::TooBrief { .. } => 423,
        }
    }

    /// Complete header lines that the answer needs besides the copied ones.
    #[must_use]
    pub fn headers(self) -> String {
        match self {
            Self::TooBrief { min } => format!("Min-Expires: {min}\r\n"),
            Self::PathNotSupported => "Unsupported: path\r\n".to_owned(),
            _ => String::new(),
        }
    }
}
