//! Contacts that are remembered for probes.

use redial_core::store::LastContacts;

use super::*;

fn last(contacts: &[Binding]) -> LastContacts {
    LastContacts { aor: aor("bob"), contacts: contacts.to_vec(), until: at(2 * HOUR) }
}

pub async fn contacts_are_remembered_beyond_their_expiry_until_forgotten(subject: &impl Subject) {
    let (store, bob) = (subject.store(), aor("bob"));
    let contacts = [binding("desk", 1, at(1000)), binding("mobile", 1, at(2000))];
    store.remember(NOW, &[last(&contacts)]).await.expect("remembered");
    let mut found = store.remembered(at(3000), &bob).await.expect("contacts");
    found.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(found, contacts);
    assert_eq!(store.bindings(NOW, std::slice::from_ref(&bob)).await, Ok(vec![vec![]]), "they are no bindings");
    store.remember(NOW, &[last(&[]), last(&contacts[..1])]).await.expect("remembered");
    assert_eq!(store.remembered(NOW, &bob).await, Ok(contacts[..1].to_vec()), "the newest list counts");
    store.remember(NOW, &[last(&[])]).await.expect("forgotten");
    assert_eq!(store.remembered(NOW, &bob).await, Ok(vec![]));
    assert_eq!(subject.traces(NOW).await, 0);
}

pub async fn one_replica_at_a_time_probes_a_callee(subject: &impl Subject) {
    let (store, bob) = (subject.store(), aor("bob"));
    assert_eq!(store.claim_probe(NOW, &bob, at(HOUR)).await, Ok(false), "there is nothing to probe");
    let contacts = [binding("desk", 1, at(1000))];
    store.remember(NOW, &[last(&contacts)]).await.expect("remembered");
    assert_eq!(store.claim_probe(NOW, &bob, at(HOUR)).await, Ok(true));
    assert_eq!(store.claim_probe(NOW, &bob, at(HOUR)).await, Ok(false));
    assert_eq!(store.claim_probe(at(HOUR), &bob, at(HOUR + 1)).await, Ok(true), "the next interval");
    assert_eq!(store.remembered(NOW, &bob).await, Ok(contacts.to_vec()), "a claim is no contact");
    store.remember(NOW, &[last(&[])]).await.expect("forgotten");
    assert_eq!(store.claim_probe(at(2 * HOUR - 1), &bob, at(3 * HOUR)).await, Ok(false), "the claim goes with the contacts");
}
