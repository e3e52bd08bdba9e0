//! Searches of operators that look at so many rows at a time and say where they stopped:
//! what is searched for lies beyond the first window.

use regimen_common::db::admin_actions::{self, Filter};
use regimen_common::db::billing::events::{self, EventFilter, EventState};
use regimen_common::db::billing::payers::{self, SubscriberFilter};
use regimen_common::test_support::TestDatabase;

#[tokio::test]
async fn actions_are_searched_window_by_window() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let sql = "insert into regimen.admin_actions (actor, action, target)
               select case n when 1 then 'rare' else 'often' end, 'b', 'c'
               from generate_series(1, 10005) n order by n";
    client.batch_execute(sql).await.unwrap();
    let mut filter = Filter { actor: Some("rare".to_owned()), limit: 51, ..Filter::default() };
    let first = admin_actions::list(&client, &filter).await.unwrap();
    assert_eq!(first.actions, []);
    filter.before = Some(first.stopped_at.unwrap());
    let rest = admin_actions::list(&client, &filter).await.unwrap();
    assert_eq!((rest.actions.len(), rest.stopped_at), (1, None));
    // Those of everybody are read until there are enough.
    let all = Filter { limit: 51, ..Filter::default() };
    let all = admin_actions::list(&client, &all).await.unwrap();
    assert_eq!((all.actions.len(), all.stopped_at), (51, None));
}

#[tokio::test]
async fn subscribers_are_searched_window_by_window() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let sql = "set session_replication_role = replica;
               insert into public.profiles (id, email)
               values ('00000000-0000-0000-0000-00000000cafe', 'Rare@example.org');
               insert into regimen.subscriptions (id, customer_id, user_id, status, basis,
                                                  basis_at, price_id)
               select 'sub_' || lpad(n::text, 6, '0'), 'cus_' || n,
                      case n when 10005 then '00000000-0000-0000-0000-00000000cafe'::uuid end,
                      'active', 'event', now(), case n when 10005 then 'price_rare' end
               from generate_series(1, 10005) n";
    client.batch_execute(sql).await.unwrap();
    let rare = |word: &str| Some(word.to_owned());
    for filter in [
        SubscriberFilter { email: rare("rare@"), limit: 51, ..SubscriberFilter::default() },
        SubscriberFilter { price: rare("price_rare"), limit: 51, ..SubscriberFilter::default() },
    ] {
        let mut filter = filter;
        let first = payers::subscribers(&client, &filter).await.unwrap();
        assert_eq!(first.subscribers, []);
        assert_eq!(first.stopped_at.as_deref(), Some("sub_010000"));
        filter.after = first.stopped_at;
        let rest = payers::subscribers(&client, &filter).await.unwrap();
        assert_eq!((rest.subscribers.len(), rest.stopped_at), (1, None));
    }
    let of_one =
        SubscriberFilter { customer: rare("cus_7"), limit: 51, ..SubscriberFilter::default() };
    let found = payers::subscribers(&client, &of_one).await.unwrap();
    assert_eq!((found.subscribers.len(), found.stopped_at), (1, None));
}

#[tokio::test]
async fn events_in_a_state_are_found_beyond_a_window() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let sql = "insert into regimen.stripe_events (id, type, payload, source, state, settled_at,
                                                  run_at, received_at)
               select 'evt_' || n, 't', '{}', 'webhook',
                      case n when 10005 then 'ignored' else 'applied' end, now(), now(),
                      now() - n * interval '1 s'
               from generate_series(1, 10005) n";
    client.batch_execute(sql).await.unwrap();
    let state = Some(EventState::Ignored);
    let filter = EventFilter { state, limit: 51, ..EventFilter::default() };
    let first = events::search(&client, &filter).await.unwrap();
    assert_eq!((first.events.len(), first.stopped_at.as_deref()), (0, Some("evt_10000")));
    let all = events::newest(&client, EventState::Ignored, 10).await.unwrap();
    assert_eq!(all.iter().map(|event| event.id.as_str()).collect::<Vec<_>>(), ["evt_10005"]);
}
