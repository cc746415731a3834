//! What follows from two looks at one queue.

use std::fmt;
use std::time::Duration;

use polybus_contract::QueueInfo;

/// Why a figure is not known. It is never guessed, and never shown as 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// The bus does not tell what it is made of.
    Untold,
    /// A rate takes two looks, and there was one.
    OneLook,
    /// The bus began to count anew between the looks.
    CountedAnew,
    /// Messages wait, and none was settled between the looks.
    Still,
    /// The bus does not tell what is settled, and what waits did not become less between the looks.
    Growing,
    /// Nothing was settled since the bus began to count.
    NoneSettled,
    /// More was settled than handed out, as after a purge.
    Unequal,
    /// The queue is not there.
    Absent,
    /// The bus did not show the queue: whoever looks may not, or it did not answer in time.
    Unseen,
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untold => "the bus does not tell it",
            Self::OneLook => "there was one look, and a rate takes two",
            Self::CountedAnew => "the bus began to count anew between the looks",
            Self::Still => "nothing was settled between the looks",
            Self::Growing => {
                "the bus does not tell what is settled, and the backlog did not shrink between the looks"
            }
            Self::NoneSettled => "nothing was settled since the bus began to count",
            Self::Unequal => "the bus counts what was purged among what was settled",
            Self::Absent => "the queue is not there",
            Self::Unseen => "the bus did not show the queue",
        })
    }
}

/// A figure, or why it is not known.
pub type Told<T> = std::result::Result<T, Unknown>;

/// How a queue moved between two looks, in messages per second.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rates {
    /// Came in.
    pub sent: Told<f64>,
    /// Went to a consumer, first and later attempts alike.
    pub handed_out: Told<f64>,
    /// Were settled for good.
    pub settled: Told<f64>,
    /// By how much the [`backlog`] grew; less than 0 if it shrank.
    pub growth: Told<f64>,
}

impl Rates {
    /// No rate is known.
    #[must_use]
    pub const fn unknown(why: Unknown) -> Self {
        Self { sent: Err(why), handed_out: Err(why), settled: Err(why), growth: Err(why) }
    }

    /// From two looks at one queue that lie this far apart; with no time between them there was one look.
    #[must_use]
    pub fn between(earlier: &QueueInfo, later: &QueueInfo, apart: Duration) -> Self {
        if apart.is_zero() {
            return Self::unknown(Unknown::OneLook);
        }
        let counted = |count: fn(&QueueInfo) -> Option<u64>| rate(count(earlier), count(later), apart);
        let grown = backlog(earlier).and_then(|before| Ok((before, backlog(later)?)));
        Self {
            sent: counted(|info| info.sent),
            handed_out: counted(|info| info.handed_out),
            settled: counted(|info| info.settled),
            growth: grown.map(|(before, after)| (float(after) - float(before)) / apart.as_secs_f64()),
        }
    }
}

fn rate(earlier: Option<u64>, later: Option<u64>, apart: Duration) -> Told<f64> {
    let (Some(earlier), Some(later)) = (earlier, later) else { return Err(Unknown::Untold) };
    let more = later.checked_sub(earlier).ok_or(Unknown::CountedAnew)?;
    Ok(float(more) / apart.as_secs_f64())
}

/// Rates are shown to three digits; a count that a float cannot hold exactly has sixteen.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn float(count: u64) -> f64 {
    count as f64
}

/// Messages that are still to be settled: those that wait, those that wait for their time, those in hand; of the last two as
/// far as the bus tells them.
///
/// # Errors
/// [`Unknown::Untold`] if the bus does not tell what waits.
pub fn backlog(info: &QueueInfo) -> Told<u64> {
    let waiting = info.ready.ok_or(Unknown::Untold)?;
    Ok(waiting.saturating_add(info.delayed.unwrap_or(0)).saturating_add(info.leased.unwrap_or(0)))
}

/// How long the backlog will take if messages are settled as fast as between the looks: the time until a message that is
/// sent now is settled, where they go in turn. Where the bus does not tell what is settled, it is the time until the queue
/// is empty if it goes on shrinking as it did.
///
/// # Errors
/// Why that cannot be said.
pub fn empties_in(info: &QueueInfo, rates: &Rates) -> Told<Duration> {
    let backlog = backlog(info)?;
    if backlog == 0 {
        return Ok(Duration::ZERO);
    }
    let speed = match (rates.settled, rates.growth) {
        (Ok(settled), _) if settled > 0.0 => settled,
        (Ok(_), _) => return Err(Unknown::Still),
        (Err(Unknown::Untold), Ok(growth)) if growth < 0.0 => -growth,
        (Err(Unknown::Untold), Ok(_)) => return Err(Unknown::Growing),
        (Err(why), _) => return Err(why),
    };
    Ok(Duration::try_from_secs_f64(float(backlog) / speed).unwrap_or(Duration::MAX))
}

/// How many hand-outs a message took on average until it was settled, since the bus began to count: 1 if none was ever
/// tried again. What is in hand now does not count yet.
///
/// # Errors
/// Why that cannot be said.
pub fn attempts(info: &QueueInfo) -> Told<f64> {
    let (Some(handed_out), Some(settled)) = (info.handed_out, info.settled) else {
        return Err(Unknown::Untold);
    };
    let ended = handed_out.saturating_sub(info.leased.unwrap_or(0));
    match settled {
        0 => Err(Unknown::NoneSettled),
        settled if ended < settled => Err(Unknown::Unequal),
        settled => Ok(float(ended) / float(settled)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(ready: u64, sent: u64, handed_out: u64, settled: u64) -> QueueInfo {
        QueueInfo {
            ready: Some(ready),
            sent: Some(sent),
            handed_out: Some(handed_out),
            settled: Some(settled),
            ..QueueInfo::default()
        }
    }

    fn waiting(ready: u64) -> QueueInfo {
        QueueInfo { ready: Some(ready), ..QueueInfo::default() }
    }

    const TWO: Duration = Duration::from_secs(2);

    #[test]
    fn rates_are_differences_of_counts_by_the_time_between_them() {
        let rates = Rates::between(&counted(10, 100, 90, 88), &counted(14, 110, 97, 92), TWO);
        assert_eq!(
            (rates.sent, rates.handed_out, rates.settled, rates.growth),
            (Ok(5.0), Ok(3.5), Ok(2.0), Ok(2.0))
        );
        assert_eq!(empties_in(&counted(14, 110, 97, 92), &rates), Ok(Duration::from_secs(7)));
    }

    #[test]
    fn what_a_bus_does_not_tell_is_unknown_and_not_zero() {
        let rates = Rates::between(&waiting(10), &waiting(4), TWO);
        assert_eq!(
            (rates.sent, rates.settled, rates.growth),
            (Err(Unknown::Untold), Err(Unknown::Untold), Ok(-3.0))
        );
        assert_eq!(empties_in(&waiting(4), &rates), Ok(Duration::from_secs_f64(4.0 / 3.0)));
        let same = Rates::between(&waiting(4), &waiting(4), TWO);
        assert_eq!(empties_in(&waiting(4), &same), Err(Unknown::Growing));
        let nothing = QueueInfo::default();
        assert_eq!(Rates::between(&nothing, &nothing, TWO), Rates::unknown(Unknown::Untold));
        assert_eq!(empties_in(&nothing, &same), Err(Unknown::Untold));
    }

    #[test]
    fn one_look_gives_no_rate_and_an_empty_queue_is_empty_all_the_same() {
        let rates = Rates::between(&counted(3, 3, 0, 0), &counted(3, 3, 0, 0), Duration::ZERO);
        assert_eq!(rates, Rates::unknown(Unknown::OneLook));
        assert_eq!(empties_in(&waiting(3), &rates), Err(Unknown::OneLook));
        assert_eq!(empties_in(&waiting(0), &rates), Ok(Duration::ZERO));
    }

    #[test]
    fn a_count_that_became_less_began_anew_and_a_standstill_has_no_end() {
        let rates = Rates::between(&counted(5, 50, 45, 45), &counted(5, 5, 0, 0), TWO);
        assert_eq!(rates.sent, Err(Unknown::CountedAnew));
        assert_eq!(empties_in(&counted(5, 5, 0, 0), &rates), Err(Unknown::CountedAnew));
        let still = Rates::between(&counted(5, 5, 1, 0), &counted(5, 5, 1, 0), TWO);
        assert_eq!(empties_in(&counted(5, 5, 1, 0), &still), Err(Unknown::Still));
    }

    #[test]
    fn all_that_is_not_settled_is_the_backlog() {
        let all = QueueInfo { delayed: Some(2), leased: Some(3), dead: Some(9), ..waiting(1) };
        assert_eq!(backlog(&all), Ok(6));
        assert_eq!(backlog(&waiting(u64::MAX)), Ok(u64::MAX));
        assert_eq!(backlog(&QueueInfo { leased: Some(3), ..QueueInfo::default() }), Err(Unknown::Untold));
    }

    #[test]
    fn a_time_beyond_all_bounds_is_the_longest() {
        let rates = Rates { settled: Ok(f64::MIN_POSITIVE), ..Rates::unknown(Unknown::Untold) };
        assert_eq!(empties_in(&waiting(u64::MAX), &rates), Ok(Duration::MAX));
    }

    #[test]
    fn attempts_are_hand_outs_that_ended_by_message_settled() {
        let tried = QueueInfo { leased: Some(2), ..counted(0, 10, 12, 8) };
        assert_eq!(attempts(&tried), Ok(1.25));
        assert_eq!(attempts(&counted(0, 10, 3, 0)), Err(Unknown::NoneSettled));
        assert_eq!(attempts(&counted(0, 10, 3, 5)), Err(Unknown::Unequal));
        assert_eq!(attempts(&waiting(3)), Err(Unknown::Untold));
    }
}
