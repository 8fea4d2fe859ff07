//! REGISTER.

use super::*;

pub async fn a_registered_contact_is_listed_as_it_was_stored(subject: &impl Subject) {
    let store = subject.store();
    let outcome = registered(store, put("bob", "a", 1)).await;
    let expected = vec![binding("a", 1, at(HOUR))];
    assert_eq!(outcome, RegisterOutcome { bindings: expected.clone(), out_of_order: false, waited_for: false, parked: false });
    assert_eq!(registered(store, fetch("bob")).await.bindings, expected);
    assert_eq!(store.bindings(NOW, &[aor("nobody"), aor("bob")]).await, Ok(vec![vec![], expected]));
}

pub async fn contacts_are_listed_best_first_and_removed_one_by_one_or_all(subject: &impl Subject) {
    let store = subject.store();
    let better = Binding { q: 1000, ..binding("better", 1, at(HOUR)) };
    let worse = Binding { q: 500, ..binding("worse", 1, at(2 * HOUR)) };
    let both = BindingChange::Each(vec![ContactChange::Put(worse), ContactChange::Put(better)]);
    assert_eq!(ids(&registered(store, register("bob", 1, both)).await.bindings), ["better", "worse"]);
    assert_eq!(ids(&registered(store, remove("bob", "better", 2)).await.bindings), ["worse"]);
    assert_eq!(ids(&registered(store, remove("bob", "unknown", 3)).await.bindings), ["worse"]);
    assert_eq!(registered(store, register("bob", 4, BindingChange::RemoveAll)).await.bindings, []);
    assert_eq!(store.bindings(NOW, &[aor("bob")]).await, Ok(vec![vec![]]));
}

pub async fn bindings_expire_by_themselves(subject: &impl Subject) {
    let store = subject.store();
    let short = Binding { call_id: "two".to_owned(), ..binding("short", 1, at(60_000)) };
    registered(store, put("bob", "long", 1)).await;
    registered(store, register("bob", 1, BindingChange::Each(vec![ContactChange::Put(short)]))).await;
    for (now, expected) in [(at(59_999), vec!["long", "short"]), (at(60_000), vec!["long"]), (at(HOUR), vec![])] {
        let found = store.bindings(now, &[aor("bob")]).await.expect("bindings");
        assert_eq!(ids(&found[0]), expected);
    }
}

pub async fn operations_of_one_aor_in_one_batch_apply_in_order(subject: &impl Subject) {
    let batch = [put("bob", "a", 1), put("bob", "b", 2), put("eve", "e", 1), remove("bob", "a", 3), fetch("bob")];
    let outcomes = subject.store().register(NOW, &batch).await.expect("register");
    let listed: Vec<Vec<&str>> = outcomes.iter().map(|o| ids(&o.bindings)).collect();
    assert_eq!(listed, [vec!["a"], vec!["a", "b"], vec!["e"], vec!["b"], vec!["b"]]);
}

pub async fn an_older_register_changes_nothing(subject: &impl Subject) {
    let store = subject.store();
    let before = registered(store, put("bob", "a", 5)).await.bindings;
    let late = [
        put("bob", "a", 4),
        remove("bob", "a", 5),
        remove("bob", "a", 4),
        register("bob", 5, BindingChange::RemoveAll),
        register(
            "bob",
            4,
            BindingChange::Each(vec![ContactChange::Put(binding("new", 4, at(HOUR))), ContactChange::Remove(BindingId("a".to_owned()))]),
        ),
    ];
    for op in late {
        let outcome = registered(store, op.clone()).await;
        assert!(outcome.out_of_order, "{op:?}");
        assert_eq!(outcome.bindings, before);
        assert_eq!(registered(store, fetch("bob")).await.bindings, before, "{op:?}");
    }
    assert!(!registered(store, put("bob", "a", 5)).await.out_of_order, "the identical request again");
    let other_call = Register { call_id: "rebooted".to_owned(), ..put("bob", "a", 1) };
    assert!(!registered(store, other_call).await.out_of_order);
}

pub async fn an_older_register_in_a_batch_changes_nothing_for_its_neighbours(subject: &impl Subject) {
    let store = subject.store();
    registered(store, put("bob", "a", 6)).await;
    let outcomes = store.register(NOW, &[put("bob", "a", 4), put("bob", "a", 5), fetch("bob")]).await.expect("register");
    assert_eq!(outcomes.iter().map(|o| o.out_of_order).collect::<Vec<_>>(), [true, true, false]);
    assert!(outcomes.iter().all(|o| o.bindings == [binding("a", 6, at(HOUR))]));
    assert_eq!(registered(store, fetch("bob")).await.bindings, [binding("a", 6, at(HOUR))]);
    let outcomes = store.register(NOW, &[put("bob", "a", 4), put("bob", "a", 7)]).await.expect("register");
    assert_eq!(outcomes.iter().map(|o| o.out_of_order).collect::<Vec<_>>(), [true, false]);
    assert_eq!(registered(store, fetch("bob")).await.bindings, [binding("a", 7, at(HOUR))]);
}

pub async fn stale_contacts_do_not_pile_up(subject: &impl Subject) {
    let store = subject.store();
    // A phone behind a changing address that never removes the old contact.
    for n in 0..100u32 {
        let contact = Binding { call_id: format!("call-{n}"), ..binding(&format!("c{n}"), 1, at(HOUR + u64::from(n))) };
        registered(store, register("bob", 1, BindingChange::Each(vec![ContactChange::Put(contact)]))).await;
    }
    let listed = registered(store, fetch("bob")).await.bindings;
    assert_eq!((listed.len(), listed[0].id.0.as_str()), (32, "c99"));
}

pub async fn fetching_an_unknown_aor_is_an_empty_list(subject: &impl Subject) {
    let store = subject.store();
    for op in [fetch("nobody"), register("nobody", 1, BindingChange::RemoveAll), remove("nobody", "a", 1)] {
        let outcome = registered(store, op).await;
        assert_eq!(outcome, RegisterOutcome { bindings: vec![], out_of_order: false, waited_for: false, parked: false });
    }
    assert_eq!(store.register(NOW, &[]).await, Ok(vec![]));
}

pub async fn a_ping_is_answered(subject: &impl Subject) {
    assert_eq!(subject.store().ping().await, Ok(()));
}
