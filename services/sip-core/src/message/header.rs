//! Header names that this project uses, with their compact forms.

/// Recognised case-insensitively, in full or compact form (RFC 3261 section 7.3.3). Everything else is `Other` and is still kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[rustfmt::skip]
pub enum Header {
    Via, From, To, CallId, CSeq, Contact, MaxForwards, Route, RecordRoute, Path, ServiceRoute, Expires, MinExpires,
    ContentLength, ContentType, Authorization, ProxyAuthorization, WwwAuthenticate, ProxyAuthenticate, AuthenticationInfo,
    Require, ProxyRequire, Supported, Unsupported, Allow, Accept, Event, SubscriptionState, ReferTo, ReferSub, ReferredBy,
    UserAgent, Server, RetryAfter, CallInfo, AllowEvents, Date, Warning, Reason, Other,
}
