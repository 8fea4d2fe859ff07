//! What recalls have taught about kinds of phones.

use super::*;
use redial_core::store::{Lesson, MAX_LESSONS};

fn lesson(agent: &str, rung: u8, until: UnixMillis) -> Lesson {
    Lesson { agent: agent.to_owned(), rung, until }
}

pub async fn what_was_learned_of_a_phone_is_remembered_for_its_time(subject: &impl Subject) {
    let store = subject.store();
    assert_eq!(store.learned(NOW, "baresip v1.0.0").await, Ok(None));
    for (agent, rung, until) in [("baresip v1.0.0", 1, HOUR), ("Linphone/5.1", 2, 1000), ("baresip v1.0.0", 3, 2 * HOUR)] {
        store.learn(NOW, &lesson(agent, rung, at(until))).await.expect("learned");
    }
    assert_eq!(store.learned(at(HOUR), "baresip v1.0.0").await, Ok(Some(3)), "the newest counts");
    assert_eq!(store.lessons(NOW).await, Ok(vec![lesson("Linphone/5.1", 2, at(1000)), lesson("baresip v1.0.0", 3, at(2 * HOUR))]));
    assert_eq!((store.learned(at(999), "Linphone/5.1").await, store.learned(at(1000), "Linphone/5.1").await), (Ok(Some(2)), Ok(None)));
    assert_eq!(store.lessons(at(1000)).await.map(|all| all.len()), Ok(1));
}

pub async fn lessons_are_bounded(subject: &impl Subject) {
    let store = subject.store();
    for n in 0..MAX_LESSONS as u64 + 5 {
        store.learn(NOW, &lesson(&format!("phone {n}"), 1, at(HOUR + n))).await.expect("learned");
    }
    assert_eq!(store.lessons(NOW).await.map(|all| all.len()), Ok(MAX_LESSONS));
    assert_eq!(store.learned(NOW, "phone 0").await, Ok(None), "what would have been forgotten first");
    assert_eq!(store.learned(NOW, &format!("phone {}", MAX_LESSONS + 4)).await, Ok(Some(1)));
}
