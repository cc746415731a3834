//! All mutants.

use std::sync::Arc;

use polybus_contract::Kind;

use super::flaw::{Flaw, Rate};
use super::{Layer, Mutant};
use super::{
    asking, closing, content, dead, fanout, faulty, large, promising, resources, secrets, sending, serving,
    settling, stranger,
};

/// A row: name, group, the cases that must kill it, the flaw in words, and how it is made; `instead` for a flaw in the
/// place of the always-on checks.
macro_rules! mutants {
    ($($name:ident $group:ident $($killer:ident)+ , $text:literal $(@$layer:ident)? => |$seed:ident| $make:expr;)*) => {
        /// Every mutant.
        pub const ALL: &[Mutant] = &[$(Mutant {
            name: stringify!($name),
            flaw: $text,
            group: stringify!($group),
            killers: &[$(stringify!($killer)),+],
            layer: mutants!(@layer $($layer)?),
            make: |$seed: u64| -> Arc<dyn Flaw> { Arc::new($make) },
        }),*];
    };
    (@layer) => { Layer::Under };
    (@layer instead) => { Layer::Instead };
}

mutants! {
    swallows_headers A A4, "headers do not arrive" => |_seed| content::Changes(content::without_headers);
    narrows_integers A A4, "integers arrive in 32 bits" => |_seed| content::Changes(content::narrowed);
    text_headers A A4, "every header arrives as text" => |_seed| content::Changes(content::as_text);
    lower_names A A4, "header names arrive in lower case" => |_seed| content::Changes(content::lower_names);
    squeezes_binary A A5, "binary headers go through UTF-8" => |_seed| content::Changes(content::squeezed);
    own_headers_shown A A6, "our own headers arrive among the caller's" => |_seed| content::Changes(content::with_reserved);
    zero_terminated A A1, "bodies end at their first zero byte" => |_seed| content::Changes(content::zero_terminated);
    takes_less A A2, "what is near the declared limit is accepted and vanishes" => |_seed| content::TakesLess;
    cuts_to_fit A A3, "what is too large is cut, and accepted" @instead => |_seed| content::CutsToFit;
    renames_redelivered A A7, "a new id at each redelivery" => |_seed| content::RenamesRedelivered;
    renames_dead A A7, "dead letters have new ids" => |_seed| content::RenamesDead::default();
    always_first A A8, "every hand-out says that it is the first" => |_seed| content::AlwaysFirst;
    only_redelivered A A8, "the attempt is one or two" => |_seed| content::OnlyRedelivered;
    bare A A9, "content type, correlation, times, priority do not arrive" => |_seed| content::Changes(content::bare);

    leaks_topics B B1, "one publish in ten reaches another topic too" => |_seed| fanout::LeaksTopics::default();
    serves_few_topics B B6, "beyond a thousand subscriptions nothing is heard" => |_seed| fanout::ServesFewTopics::default();
    mixes_tenants B B5, "what one tenant sends reaches the other" => |_seed| serving::MixesTenants::default();
    folds_case B B2, "names that differ in case are the same" => |_seed| sending::FoldsCase;
    swallows_unroutable B B4, "a send to a queue that is not there is confirmed" => |_seed| sending::SwallowsRefusals(Kind::Unroutable);
    blurs_refusals B B4, "every refusal is an internal error" => |_seed| sending::BlursRefusals;

    loses_sends C C1, "one in a thousand confirmed sends is lost" => |seed| sending::LosesSends(Rate::new(seed, 1000));
    duplicates_sends C C1, "one in a thousand sends is sent twice" => |seed| sending::DuplicatesSends(Rate::new(seed, 1000));
    duplicates_deliveries C C1, "one in a thousand deliveries is handed out twice" => |seed| serving::DuplicatesDeliveries(Arc::new(Rate::new(seed, 1000)));
    ignores_credit C C2, "a consumer gets twice its credit" => |_seed| serving::IgnoresCredit;
    keeps_credit C C3, "a change of credit is accepted and ignored" => |_seed| serving::KeepsCredit;
    hoards_backlog C C4, "one consumer takes the whole backlog" => |_seed| serving::HoardsBacklog;
    poisons_neighbours C C5, "a failing message takes along its consumer's others" => |_seed| serving::PoisonsNeighbours::default();
    forgets_backlog C C7, "what waited before the first consumer is gone" => |_seed| serving::ForgetsBacklog::default();
    favours_first C C6, "all consumers but the first starve" => |_seed| serving::FavoursFirst::default();
    shares_groups C C8, "all groups of a topic are one" => |_seed| serving::SharesGroups::default();
    reorders C C9, "one in fifty sends is overtaken by those behind it" => |seed| sending::Overtakes(Rate::new(seed, 50));

    acks_early D D6, "a delivery is settled when it is handed out" => |_seed| settling::AcksEarly;
    acks_late D D1 D11, "an ack answers Ok and is sent later, or never" => |_seed| settling::AcksLate::default();
    acks_all_before D D5, "an ack settles all that was handed out before it" => |_seed| settling::AcksAllBefore::default();
    retry_consumes D D2, "a retry is the end of the message" => |_seed| settling::Settles(settling::retry_consumes);
    drop_consumes D D6, "a dropped delivery is the end of the message" => |_seed| settling::Settles(settling::drop_consumes);
    drop_returns_twice D D6, "a dropped delivery comes back twice" => |_seed| settling::DropsReturnTwice::default();
    retry_at_once D D3, "a retry ignores its delay" => |_seed| settling::Settles(settling::without_delay);
    rejects_into_nothing D D4, "a reject leaves no dead letter" => |_seed| settling::Settles(settling::keeps_nothing);
    one_reason D D4 A10, "every dead letter has the same reason" => |_seed| settling::Settles(settling::one_reason);
    stale_is_ok D D8, "a settle that came too late answers Ok" => |_seed| settling::StaleIsOk;
    never_renews D D9 D7, "a renewal answers Ok and does nothing" => |_seed| settling::NeverRenews;
    never_ends_leases D D10, "a lease never ends, whoever holds it" => |_seed| settling::NeverEndsLeases::default();
    hot_loop D D12, "a failing message comes back at once, uncounted, for ever" => |_seed| settling::Settles(settling::uncounted);

    ignores_cap E E1, "the cap on attempts is not kept" => |_seed| dead::IgnoresCap;
    forgets_errors E E1, "dead letters do not say the last error" => |_seed| settling::Settles(settling::forgets_errors);
    forgets_deaths E E1, "dead letters do not say why they died" => |_seed| dead::ForgetsDeaths;
    drops_spent E E1, "a spent message leaves no dead letter" => |_seed| dead::DropsSpent;
    drops_dead_uncounted E E2, "dead letters fall out of their bound uncounted" => |_seed| dead::DropsDeadUncounted;
    loses_refused_dead E E2, "a reject whose dead letter finds no room answers Ok" => |_seed| settling::LosesRefusedDead;
    redrive_loses E E3, "a redrive empties the dead letters" => |_seed| dead::RedriveLoses;
    redrive_copies E E3, "a redrive leaves the dead letters where they are" => |_seed| dead::RedriveCopies;
    redrive_renames E E3, "a redrive sends under new ids" => |_seed| dead::RedriveRenames;
    redrive_keeps_count E E3, "a redriven message goes on counting" => |_seed| dead::RedriveKeepsCount::default();
    ignores_expiry E E4, "expired messages are delivered" => |_seed| dead::IgnoresExpiry;
    drops_expired E E4, "expired messages are dropped where they should be kept" => |_seed| dead::DropsExpired;
    drops_expired_uncounted E E4, "expired messages are dropped uncounted" => |_seed| dead::DropsExpiredUncounted;
    ignores_delay E E5, "a delayed send is visible at once" => |_seed| dead::IgnoresDelay;
    ignores_priority E E6, "priorities have no effect" => |_seed| dead::ChangesPriority(|_| 0);
    inverts_priority E E6, "low priorities come first" => |_seed| dead::ChangesPriority(|priority| u8::MAX - priority);
    refuses_late E E5, "what is not declared is done before it is refused" @instead => |_seed| promising::RefusesLate;
    does_undeclared E E5, "what is not declared is done" @instead => |_seed| promising::DoesUndeclared;

    skips_subscribers F F1, "subscribers miss one message in two hundred" => |seed| fanout::SkipsSubscribers(Rate::new(seed, 200));
    repeats_to_subscribers F F1, "subscribers get one message in two hundred twice" => |seed| fanout::RepeatsToSubscribers(Arc::new(Rate::new(seed, 200)));
    reorders_topics F F1, "subscribers see one message in fifty overtaken" => |seed| fanout::ReordersTopics(Arc::new(Rate::new(seed, 50)));
    retains_last F F2, "a new subscriber gets what was published before it" => |_seed| fanout::RetainsLast::default();
    slow_joiner F F3, "subscribe returns before it is live" => |_seed| fanout::SlowJoiner;
    blocks_on_slow F F4, "a slow subscriber holds up who publishes" => |_seed| fanout::BlocksOnSlow::default();
    hides_gaps F F5, "what was missed is not shown" => |_seed| fanout::HidesGaps;
    miscounts_gaps F F5, "a gap says a wrong number" => |_seed| fanout::MiscountsGaps;
    blames_network F F5, "a gap names a wrong cause" => |_seed| fanout::BlamesTheNetwork;
    misses_uncounted F F4, "what subscribers miss is not counted" => |_seed| fanout::MissesUncounted;

    answers_wrong_caller G G1, "every other reply goes to another caller" => |_seed| asking::AnswersWrongCaller::default();
    late_to_another G G2, "a late reply is given to another call" => |_seed| asking::LateToAnother::default();
    late_uncounted G G2, "late replies are not counted" => |_seed| asking::LateUncounted;
    late_is_error G G2, "a late reply is an error to the worker" => |_seed| asking::LateIsError;
    never_no_responder G G3, "who asks to be told that nobody serves waits" => |_seed| asking::AsksOtherwise(asking::waits);
    no_default_deadline G G4, "a request without a deadline waits for ever" => |_seed| asking::AsksOtherwise(asking::without_default);
    first_attempt G G5, "every reply says that it answers the first attempt" => |_seed| asking::AnswersOtherwise(asking::first_attempt);
    error_as_result G G6, "a failure arrives as a result" => |_seed| asking::AnswersOtherwise(asking::without_error);
    swallows_errors G G6, "a failure does not arrive" => |_seed| asking::SwallowsErrors;
    swallows_big_replies G G7, "a reply that is too large is accepted and vanishes" @instead => |_seed| asking::SwallowsBigReplies;
    leaks_calls G G8, "a call stays when its caller has gone" => |_seed| asking::LeaksCalls::default();
    shuffles_parts G G9, "parts of a reply change places" => |_seed| asking::ShufflesParts;
    loses_parts G G9, "a part of a reply is lost" => |_seed| asking::LosesParts;
    endless_parts G G9, "a stream of replies has no end" => |_seed| asking::AnswersOtherwise(asking::without_end);
    deaf_after_timeout G G11, "after a short deadline no reply arrives" => |_seed| asking::DeafAfterTimeout::default();
    deaf_after_reconnect G G10, "the reply path is not restored" => |_seed| asking::DeafAfterReconnect::default();
    leaks_task_per_call G G11, "a task stays for each call" => |_seed| asking::LeaksTaskPerCall;

    swallows_full H H2, "a send to a full queue is confirmed" => |_seed| sending::SwallowsRefusals(Kind::Full);
    waits_for_ever H H2, "a wait for room has no bound" => |_seed| sending::WaitsForEver(Kind::Full);
    waits_out_outages H H3, "a publish during an outage has no bound" => |_seed| sending::WaitsForEver(Kind::Disconnected);
    swallows_outages H H3, "a publish during an outage is confirmed" => |_seed| sending::SwallowsRefusals(Kind::Disconnected);
    forgets_unflushed H H4, "a close throws unconfirmed sends away, and says that it was clean" => |_seed| sending::ForgetsUnflushed::default();
    breaks_after_refusal H H5, "a refused publish breaks those behind it" => |_seed| sending::BreaksAfterRefusal::default();

    runs_when_built I I1, "a handle needs a runtime to be built" => |_seed| closing::RunsWhenBuilt;
    storms_on_refusal I I2, "a wrong password is tried again and again" => |_seed| closing::StormsOnRefusal;
    repeats_password I I2, "a refusal repeats the password" => |_seed| stranger::RepeatsPassword;
    closes_at_once I I3, "a close does not wait for what is in hand" => |_seed| closing::ClosesAtOnce;
    counts_releases I I3, "what is given back unseen counts as an attempt" => |_seed| settling::Settles(settling::counted);
    claims_clean_close I I4 I5, "a close claims to be clean" => |_seed| closing::ClaimsCleanClose;
    hangs_on_close I I4, "a close waits for ever" => |_seed| closing::HangsOnClose::default();
    acks_abandoned I I4, "what a close abandons is settled" => |_seed| closing::AcksAbandoned::default();
    hangs_on_second_close I I6, "a second close waits for ever" => |_seed| closing::HangsOnSecondClose::default();
    forgets_report I I6, "a second close reports something else" => |_seed| closing::ForgetsItsReport::default();
    works_after_close I I7, "a publish after the close is confirmed" => |_seed| closing::WorksAfterClose;
    hangs_after_close I I7, "a call after the close waits for ever" => |_seed| closing::HangsAfterClose;
    leaves_consumers I I8, "a consumer stays behind for each that is asked for" => |_seed| closing::LeavesConsumers::default();
    auto_deletes I I8, "a queue is removed when who declared it closes" => |_seed| serving::AutoDeletes::default();
    forgets_topology I I8, "a declare answers Ok and does nothing" => |_seed| serving::ForgetsTopology;

    confirms_early J H1 J1 J2, "what is confirmed is stored a little later" => |_seed| faulty::ConfirmsEarly::default();
    repeats_after_restart J J1 J2, "after a restart what was handed out last comes again" => |_seed| faulty::RepeatsAfterRestart::default();
    hides_outages J J3, "a link that is down is shown as up" => |_seed| faulty::SaysAllIsWell(faulty::without_outage);
    takes_slow_for_dead J J4, "an answer that takes longer is not waited for" => |_seed| faulty::TakesSlowForDead;
    forgets_consumers J J5, "after a restart the old consumers get nothing" => |_seed| faulty::ForgetsAtRestart::consumers();
    forgets_subscriptions J J5, "after a restart the old subscriptions get nothing" => |_seed| faulty::ForgetsAtRestart::default();
    forgets_credit J J5, "after a restart a consumer gets twice its credit" => |_seed| faulty::ForgetsCredit::default();
    needs_bus_to_begin J J6, "a consumer that begins while the bus is down fails" => |_seed| faulty::NeedsBusToBegin;
    hides_stalls J J7, "every consumer is shown as live" => |_seed| faulty::SaysAllIsWell(faulty::without_stall);
    hides_alarms J J8, "an alarm is not shown" => |_seed| faulty::SaysAllIsWell(faulty::without_alarm);
    blocks_consumers J J8, "consumers stop while publishers are held back" => |_seed| faulty::BlocksConsumers::default();
    follows_the_clock J J9, "leases end when the wall clock jumps" => |_seed| faulty::FollowsTheClock::default();

    payload_in_errors K K5s, "errors show payloads" => |_seed| secrets::ShowsPayloadInErrors;
    payload_in_debug K K5s, "the handle's Debug shows payloads" => |_seed| secrets::ShowsPayloadInDebug::default();

    damages_parts L L1, "the parts of large bodies are changed" => |_seed| large::Careless::Damages;
    takes_parts L L2, "the parts of large bodies are gone when they were read" => |_seed| large::Careless::Takes;
    keeps_parts L L3, "the parts of large bodies stay for ever" => |_seed| large::Careless::Keeps;
    heads_only L L4, "of a large reply only the head comes" => |_seed| large::HeadsOnly;

    keeps_copies R R1, "a copy of every message is kept" => |_seed| resources::KeepsCopies::default();
    buffers_beyond_bounds R R1, "what a full queue refuses is buffered without a bound" => |_seed| resources::BuffersBeyondBounds::default();
    leaks_task_per_connection R R2, "a task stays for each connection" => |_seed| resources::LeaksTaskPerConnection;
    leaks_files R R2, "an open file stays for each connection" => |_seed| resources::LeaksFiles::default();
}
