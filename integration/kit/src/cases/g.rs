//! G: requests and replies.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use polybus_contract::{
    Arrival, ConsumeOptions, Deadline, Delivery, End, Feature, Incoming, Intake, Kind, Message, Name, Nobody,
    Receipt, RemoteError, Reply, ReplyOptions, ReplyTo, RequestOptions, Result, Target, Transport,
    TransportExt,
};

use crate::case::{Case, CaseResult, Fail, case, ensure, refused};
use crate::faults::Fault;
use crate::stage::Stage;

/// The table of the group.
pub(super) const CASES: &[Case] = &[
    case!(G1 correlate [Queue, Settle, Request] "a hundred calls at once, answered in reverse: each caller gets its own reply"),
    case!(G2 late_reply [Queue, Settle, Request] "a reply after the deadline is discarded and counted, no error to its worker, and given to nobody else"),
    case!(G3 no_responder [Queue, Request] "where nobody serves, who asks to be told is told at once, and who waits ends at its deadline"),
    case!(G4 default_timeout [Queue, Settle, Request] "a call that states no deadline has one, and it travels with the request"),
    case!(G5 responder_dies [Queue, Settle, Request] "when a worker dies with a request, another one finishes it, with the next attempt; the caller gets one answer"),
    case!(G6 error_reply [Queue, Settle, Request] "a worker's error reaches the caller as an error, with code and text"),
    case!(G7 big_reply [Queue, Settle, Request] "a reply that is too large is refused to its worker, typed; worker and caller go on"),
    case!(G8 cancel [Queue, Settle, Request] "a caller that goes away leaves nothing behind, and its worker sees no error"),
    case!(G9 progress [Queue, Settle, Request, ReplyStream] "the parts of a reply come in order, all of them, and the end is marked"),
    case!(G10 rpc_after_reconnect [Queue, Settle, Request] {Stop, Start} "after a restart of the bus the next call works"),
    case!(G11 no_leak [Queue, Settle, Request] "a thousand calls, timeouts among them, leave no pending call and no task behind"),
];

/// A queue with handles of a caller and of a worker.
struct Line {
    caller: Arc<dyn Transport>,
    worker: Arc<dyn Transport>,
    queue: Name,
}

impl Line {
    async fn new(stage: &Stage) -> CaseResult<Self> {
        let (caller, worker) = (stage.connect().await?, stage.connect().await?);
        let queue = stage.declare_queue(&*worker, "q").await?;
        Ok(Self { caller, worker, queue })
    }

    async fn serve(&self, stage: &Stage, credit: u32) -> CaseResult<Incoming<Delivery>> {
        let options = ConsumeOptions::default().with_credit(credit);
        stage.consume(&*self.worker, &Intake::Queue(self.queue.clone()), options).await
    }

    /// A call that ends at the latest with the declared patience.
    async fn call(&self, stage: &Stage, text: &str) -> CaseResult<Result<Reply>> {
        let options = RequestOptions::default().with_deadline(stage.times().patience);
        self.call_with(stage, text, options).await
    }

    async fn call_with(
        &self,
        stage: &Stage,
        text: &str,
        options: RequestOptions,
    ) -> CaseResult<Result<Reply>> {
        let within = match options.deadline {
            Deadline::Within(within) => within,
            Deadline::Never => Duration::ZERO,
        };
        let call = self.caller.call(&self.queue, Message::new(text.to_owned()), options);
        let bound = within + stage.times().patience;
        let late = || Fail::broken(format!("a call with {within:?} to wait did not end within {bound:?}"));
        tokio::time::timeout(bound, call).await.map_err(|_| late())
    }

    /// Replies with this text, and acks.
    async fn answer(&self, stage: &Stage, delivery: Delivery, text: &str) -> CaseResult<Receipt> {
        let options = ReplyOptions::default().with_attempt(delivery.attempt());
        let receipt = reply(stage, &*self.worker, &delivery, text, options).await??;
        stage.bounded("an ack", delivery.ack()).await??;
        Ok(receipt)
    }
}

fn address(delivery: &Delivery) -> CaseResult<ReplyTo> {
    let address = delivery.message().reply_to().cloned();
    address.ok_or_else(|| Fail::broken("a request arrived without a reply address"))
}

async fn reply(
    stage: &Stage,
    worker: &dyn Transport,
    to: &Delivery,
    text: &str,
    options: ReplyOptions,
) -> CaseResult<Result<Receipt>> {
    let (address, message) = (address(to)?, Message::new(text.to_owned()));
    stage.bounded("a reply", worker.reply(&address, message, options)).await
}

fn text_of(message: &Message) -> CaseResult<String> {
    let bytes = message.body().as_bytes().ok_or_else(|| Fail::broken("a small body came in parts"))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

async fn correlate(stage: &Stage) -> CaseResult {
    const CALLS: usize = 100;
    let line = Line::new(stage).await?;
    let mut requests = line.serve(stage, 100).await?;
    let calls = join_all((0..CALLS).map(|number| {
        let line = &line;
        async move {
            let text = format!("call {number}");
            let reply = line.call(stage, &text).await??;
            let got = text_of(&reply.message)?;
            ensure!(got == text, "the caller of \"{text}\" got the reply to \"{got}\"");
            Ok(())
        }
    }));
    let serving = async {
        let mut taken = Vec::new();
        for _ in 0..CALLS {
            taken.push(stage.next(&mut requests, "the worker").await?);
        }
        for delivery in taken.into_iter().rev() {
            let text = text_of(delivery.message())?;
            line.answer(stage, delivery, &text).await?;
        }
        CaseResult::Ok(())
    };
    let (called, served) = join(calls, serving).await;
    served?;
    called.into_iter().collect()
}

/// The late replies that were counted so far, on either side.
fn late(line: &Line) -> u64 {
    line.caller.health().counters.late_replies + line.worker.health().counters.late_replies
}

async fn late_reply(stage: &Stage) -> CaseResult {
    let line = Line::new(stage).await?;
    let before = late(&line);
    let before_there = line.caller.health().counters.late_replies;
    let mut requests = line.serve(stage, 2).await?;
    let short = RequestOptions::default().with_deadline(stage.times().redelivery);
    // The worker has the request before its caller gives up: a bus need not hand out what nobody waits for.
    let first_call = line.call_with(stage, "first", short);
    let (timed_out, first) = join(first_call, stage.next(&mut requests, "the worker")).await;
    refused(timed_out?, "a call that nobody answers", |kind| kind == Kind::DeadlineExceeded)?;
    let first = first?;
    let second_call = line.call(stage, "second");
    let answering = async {
        let second = stage.next(&mut requests, "the worker").await?;
        let receipt = line.answer(stage, first, "first").await.map_err(|fail| fail.during("a late reply"))?;
        if matches!(receipt, Receipt::Confirmed(_)) {
            // Confirmed is what the caller's side has: then that side must be the one to count it.
            let there = || line.caller.health().counters.late_replies > before_there;
            let counted = stage.until("a count of it at its caller", || async { there() }).await;
            counted
                .map_err(|fail| fail.during(format!("a reply to nobody that was confirmed: {receipt:?}")))?;
        }
        line.answer(stage, second, "second").await
    };
    let (called, answered) = join(second_call, answering).await;
    answered?;
    let got = text_of(&called??.message)?;
    ensure!(got == "second", "the second caller got the late reply to the first: \"{got}\"");
    stage.until("a count of the late reply", || async { late(&line) > before }).await
}

async fn no_responder(stage: &Stage) -> CaseResult {
    let line = Line::new(stage).await?;
    if stage.has(Feature::NoResponder) {
        // Told at once is told well before the deadline.
        let long = stage.times().patience * 2;
        let options = RequestOptions::default().with_nobody(Nobody::Fail).with_deadline(long);
        let call = line.caller.call(&line.queue, Message::new("anybody?"), options);
        let told = stage.bounded("a call that asks to be told that nobody serves", call).await?;
        refused(told, "a call of a queue that nobody serves", |kind| kind == Kind::NoResponder)?;
    }
    let short = RequestOptions::default().with_deadline(stage.times().redelivery);
    let waited = line.call_with(stage, "anybody?", short).await?;
    refused(waited, "a call that waits for somebody", |kind| kind == Kind::DeadlineExceeded).map(|_| ())
}

async fn default_timeout(stage: &Stage) -> CaseResult {
    let line = Line::new(stage).await?;
    let Deadline::Within(_) = RequestOptions::default().deadline else {
        return Err(Fail::broken("the default deadline of the contract is none"));
    };
    let mut requests = line.serve(stage, 1).await?;
    let call = line.call_with(stage, "hello", RequestOptions::default());
    let seen = async {
        let delivery = stage.next(&mut requests, "the worker").await?;
        ensure!(delivery.message().deadline().is_some(), "the deadline did not travel with the request");
        Ok(delivery)
    };
    let (called, seen) = join(call, seen).await;
    seen?.release().await?;
    refused(called?, "a call without a deadline", |kind| kind == Kind::DeadlineExceeded).map(|_| ())
}

async fn responder_dies(stage: &Stage) -> CaseResult {
    let line = Line::new(stage).await?;
    let short = stage.short_queue("short")?;
    let queue = stage.declare_this(&*line.worker, short).await?;
    let line = Line { queue, ..line };
    let first =
        Line { worker: stage.connect().await?, caller: line.caller.clone(), queue: line.queue.clone() };
    let mut requests = first.serve(stage, 1).await?;
    let call = line.call(stage, "work");
    let dying = async {
        let delivery = stage.next(&mut requests, "the first worker").await?;
        // A process that is killed says nothing any more: neither a settle nor a farewell of its delivery.
        std::mem::forget(delivery);
        stage.bounded("a close", first.worker.close()).await?;
        let mut requests = line.serve(stage, 1).await?;
        let again = stage.next(&mut requests, "the second worker").await?;
        let attempt = again.attempt();
        ensure!(
            !stage.has(Feature::Attempts) || attempt >= 2,
            "the second worker was told attempt {attempt}"
        );
        line.answer(stage, again, "done").await?;
        Ok(attempt)
    };
    let (called, attempt) = join(call, dying).await;
    let (reply, attempt) = (called??, attempt?);
    ensure!(text_of(&reply.message)? == "done", "the caller got another answer: {reply:?}");
    let said = reply.attempt.unwrap_or(attempt);
    ensure!(said == attempt, "the reply says that it answers attempt {said}, it answers {attempt}");
    Ok(())
}

/// An error as a worker reports it.
fn trouble() -> ReplyOptions {
    let error = RemoteError { code: "E42".to_owned(), text: "out of paper".to_owned() };
    ReplyOptions::default().with_error(error)
}

async fn error_reply(stage: &Stage) -> CaseResult {
    let line = Line::new(stage).await?;
    let mut requests = line.serve(stage, 1).await?;
    let call = line.call(stage, "print");
    let failing = async {
        let delivery = stage.next(&mut requests, "the worker").await?;
        reply(stage, &*line.worker, &delivery, "", trouble()).await??;
        stage.bounded("an ack", delivery.ack()).await??;
        CaseResult::Ok(())
    };
    let (called, failed) = join(call, failing).await;
    failed?;
    let error = refused(called?, "a call that its worker fails", |kind| kind == Kind::Remote)?;
    let text = error.to_string();
    ensure!(text.contains("E42") && text.contains("out of paper"), "code and text are not in \"{text}\"");
    Ok(())
}

async fn big_reply(stage: &Stage) -> CaseResult {
    let Some(limit) = stage.capability().max_message else {
        return Err(Fail::NotRun("the bus does not know its limit".to_owned()));
    };
    let line = Line::new(stage).await?;
    let mut requests = line.serve(stage, 1).await?;
    let size = usize::try_from(limit).map_err(|_| Fail::NotRun("its limit is beyond memory".to_owned()))? + 1;
    let call = line.call(stage, "all of it");
    let serving = async {
        let delivery = stage.next(&mut requests, "the worker").await?;
        let (to, whole) = (address(&delivery)?, Message::new(vec![0_u8; size]));
        let sending = line.worker.reply(&to, whole, ReplyOptions::default());
        let sent = stage.bounded("a reply that is too large", sending).await?;
        refused(sent, "a reply over the limit", |kind| matches!(kind, Kind::TooLarge { .. }))?;
        reply(stage, &*line.worker, &delivery, "", trouble()).await??;
        stage.bounded("an ack", delivery.ack()).await??;
        CaseResult::Ok(())
    };
    let (called, served) = join(call, serving).await;
    served?;
    refused(called?, "a call whose reply was too large", |kind| kind == Kind::Remote)?;
    echoed(stage, &line, &mut requests, "less of it").await
}

/// One call that works.
async fn echoed(stage: &Stage, line: &Line, requests: &mut Incoming<Delivery>, text: &str) -> CaseResult {
    let answering = async {
        let delivery = stage.next(requests, "the worker").await?;
        let text = text_of(delivery.message())?;
        line.answer(stage, delivery, &text).await
    };
    let (called, answered) = join(line.call(stage, text), answering).await;
    answered?;
    let got = text_of(&called??.message)?;
    ensure!(got == text, "a call of \"{text}\" was answered \"{got}\"");
    Ok(())
}

fn pending(line: &Line) -> u64 {
    line.caller.health().counters.pending_requests
}

async fn cancel(stage: &Stage) -> CaseResult {
    let line = Line::new(stage).await?;
    let mut requests = line.serve(stage, 1).await?;
    let baseline = pending(&line);
    let target = Target::Queue(line.queue.clone());
    let asked = line.caller.request(&target, Message::new("never mind"), RequestOptions::default());
    let replies = stage.bounded("a request", asked).await??;
    ensure!(pending(&line) > baseline, "a request that waits for its reply is not counted as pending");
    let delivery = stage.next(&mut requests, "the worker").await?;
    drop(replies);
    stage.until("that the call is given up", || async { pending(&line) <= baseline }).await?;
    line.answer(stage, delivery, "too late").await.map_err(|fail| fail.during("a reply to nobody"))?;
    echoed(stage, &line, &mut requests, "the next one").await
}

async fn progress(stage: &Stage) -> CaseResult {
    const PARTS: u32 = 5;
    let line = Line::new(stage).await?;
    let mut requests = line.serve(stage, 1).await?;
    let target = Target::Queue(line.queue.clone());
    let options = RequestOptions::default().with_deadline(stage.times().patience);
    let asked = line.caller.request(&target, Message::new("count"), options);
    let mut replies = stage.bounded("a request", asked).await??;
    let delivery = stage.next(&mut requests, "the worker").await?;
    for index in 0..PARTS {
        let options = ReplyOptions::default().with_index(index).with_last(index + 1 == PARTS);
        reply(stage, &*line.worker, &delivery, &index.to_string(), options).await??;
    }
    stage.bounded("an ack", delivery.ack()).await??;
    for index in 0..PARTS {
        let part = stage.next(&mut replies, "the caller").await?;
        let text = text_of(&part.message)?;
        ensure!(
            part.index == index && text == index.to_string(),
            "part {index} of the reply is part {} with the text \"{text}\"",
            part.index
        );
        ensure!(part.last == (index + 1 == PARTS), "part {index} of {PARTS} says last: {}", part.last);
    }
    complete(stage, &mut replies).await
}

async fn complete(stage: &Stage, replies: &mut Incoming<Reply>) -> CaseResult {
    match stage.bounded("the end of a stream of replies", replies.next()).await? {
        None => {}
        Some(Arrival::Item(reply)) => {
            return Err(Fail::broken(format!("after the last part came {reply:?}")));
        }
        Some(Arrival::Gap(gap)) => return Err(Fail::broken(format!("after the last part came {gap:?}"))),
    }
    let end = replies.end();
    ensure!(matches!(end, Some(End::Complete)), "the stream of replies ended {end:?}, not complete");
    Ok(())
}

async fn rpc_after_reconnect(stage: &Stage) -> CaseResult {
    let faults = stage.faults(&[Fault::Stop, Fault::Start])?;
    let line = Line::new(stage).await?;
    let mut requests = line.serve(stage, 1).await?;
    echoed(stage, &line, &mut requests, "before").await?;
    faults.inject(Fault::Stop).await?;
    faults.inject(Fault::Start).await?;
    line.caller.connect(stage.times().patience).await?;
    line.worker.connect(stage.times().patience).await?;
    if faults.takes_client() {
        stage.declare_queue(&*line.worker, "q").await?;
        requests = line.serve(stage, 1).await?;
    }
    echoed(stage, &line, &mut requests, "after").await.map_err(|fail| fail.during("after a restart"))
}

/// Answers until its stream ends.
async fn echo(worker: Arc<dyn Transport>, mut requests: Incoming<Delivery>) {
    while let Some(Arrival::Item(delivery)) = requests.next().await {
        if let Some(to) = delivery.message().reply_to().cloned() {
            let message = Message::new(delivery.message().body().clone());
            // What goes wrong here shows at the caller.
            let _ = worker.reply(&to, message, ReplyOptions::default()).await;
        }
        let _ = delivery.ack().await;
    }
}

async fn no_leak(stage: &Stage) -> CaseResult {
    const ROUNDS: usize = 10;
    let line = Line::new(stage).await?;
    let unserved = stage.declare_queue(&*line.worker, "unserved").await?;
    let nobody = Line { caller: line.caller.clone(), worker: line.worker.clone(), queue: unserved };
    let serving = tokio::spawn(echo(line.worker.clone(), line.serve(stage, 16).await?));
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    round(stage, &line, &nobody).await?;
    let (baseline, alive) = (pending(&line), tasks());
    for _ in 0..ROUNDS {
        round(stage, &line, &nobody).await?;
    }
    stage.until("that no call is pending", || async { pending(&line) <= baseline }).await?;
    // A task for each call would be a hundred times as many.
    stage.until("that the tasks of the calls end", || async { tasks() <= alive + ROUNDS }).await?;
    serving.abort();
    Ok(())
}

/// A hundred calls at once, one in ten of which nobody answers.
async fn round(stage: &Stage, line: &Line, nobody: &Line) -> CaseResult {
    let calls = (0..100).map(|number| async move {
        if number % 10 > 0 {
            return line.call(stage, "echo").await?.map(|_| ()).map_err(Fail::from);
        }
        let short = RequestOptions::default().with_deadline(stage.times().redelivery);
        let called = nobody.call_with(stage, "nobody", short).await?;
        refused(called, "a call that nobody answers", |kind| kind == Kind::DeadlineExceeded).map(|_| ())
    });
    join_all(calls).await.into_iter().collect()
}
