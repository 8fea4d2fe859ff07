use super::*;
use proptest::prelude::*;

const US: Silence = Silence { addr: IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), id: 7, version: 2 };

fn answer(offer: &str) -> Option<String> {
    US.answer(offer.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
}

fn offered(direction: &str) -> String {
    format!(
        "v=0\r\no=a 1 1 IN IP4 192.0.2.9\r\ns=Talk\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\na=rtcp-xr:voip-metrics\r\nm=audio 7078 RTP/AVP 96 0 101\r\n\
         a=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\n{direction}a=ssrc:1 cname:x\r\n\
         m=video 9078 RTP/AVP 97\r\na=rtpmap:97 VP8/90000\r\n"
    )
}

#[test]
fn our_offer_only_listens() {
    let offer = String::from_utf8(US.offer()).unwrap();
    assert!(offer.starts_with("v=0\r\no=redial 7 2 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 8 9\r\n"));
    assert!(offer.ends_with("a=recvonly\r\n"));
}

#[test]
fn the_first_audio_stream_is_taken_and_the_others_are_not() {
    let answer = answer(&offered("")).unwrap();
    let media = answer.split_once("t=0 0\r\n").unwrap().1;
    assert_eq!(
        media,
        "m=audio 9 RTP/AVP 96 0 101\r\na=rtpmap:96 opus/48000/2\r\na=fmtp:96 useinbandfec=1\r\na=rtpmap:101 telephone-event/8000\r\na=recvonly\r\n\
         m=video 0 RTP/AVP 97\r\n"
    );
}

#[test]
fn directions_are_answered_by_their_other_side() {
    for (offer, expected) in [
        ("a=sendrecv\r\n", "a=recvonly"),
        ("a=sendonly\r\n", "a=recvonly"),
        ("a=recvonly\r\n", "a=sendonly"),
        ("a=inactive\r\n", "a=inactive"),
    ] {
        assert!(answer(&offered(offer)).unwrap().contains(expected), "{offer}");
        let of_session = offered("").replace("t=0 0\r\n", &format!("t=0 0\r\n{offer}"));
        assert!(answer(&of_session).unwrap().contains(expected), "session: {offer}");
    }
}

#[test]
fn what_we_cannot_take_is_rejected_and_what_is_no_description_is_not_answered() {
    let secure = offered("").replace("7078 RTP/AVP", "7078 RTP/SAVP");
    assert!(answer(&secure).unwrap().contains("m=audio 0 RTP/SAVP 96 0 101\r\n"));
    for bad in ["", "v=0", "v=1\r\nm=audio 1 RTP/AVP 0\r\n", "m=audio 1 RTP/AVP 0\r\n", "v=0\r\nm=audio\r\n"] {
        assert_eq!(answer(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_answered_with_as_many_streams_or_not_at_all(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "v=0\n([ma]=[a-z]{1,5}( [0-9A-Z/]{1,5}){0,4}\r?\n){0,6}") {
        let _ = US.answer(&bytes);
        if let Some(answer) = answer(&text) {
            let streams = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
            prop_assert_eq!(streams(&answer), streams(&text));
            prop_assert_eq!(US.answer(answer.as_bytes()).is_some(), true);
        }
    }
}
