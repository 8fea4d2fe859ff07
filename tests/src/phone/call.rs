//! Calls that a phone makes.

use anyhow::{Result, ensure};
use sip_core::message::Header;

use super::{Phone, Received, digest, text};

/// A call of ours: as INVITE, and as dialog once it is answered.
#[derive(Clone, Debug)]
pub struct Call {
    pub id: String,
    pub peer: String,
    /// Of the INVITE.
    pub cseq: u32,
    /// The final answer to the INVITE, acknowledged already.
    pub answer: Received,
}

impl Call {
    #[must_use]
    pub fn status(&self) -> u16 {
        self.answer.status()
    }

    /// Whether the answer says that the caller will be called back (RFC 6910 section 5.2): 480, or what a server upstream says instead.
    #[must_use]
    pub fn is_remembered(&self) -> bool {
        self.status() >= 400 && self.answer.header(Header::CallInfo).contains("purpose=call-completion")
    }
}

impl Phone {
    /// Calls `peer` and waits for the final answer, which is acknowledged. `headers` are whole lines with their CRLF.
    /// # Errors
    /// When no final answer comes.
    pub fn invite(&mut self, peer: &str, headers: &str) -> Result<Call> {
        let id = self.make("call");
        let invite = text::invite(self, peer, &id, headers);
        let answer = self.transact(&invite)?;
        let mut call = Call { id, peer: peer.to_owned(), cseq: 1, answer };
        if let Some(again) = digest::repeated(self, &invite, &call.answer)? {
            self.acknowledge(&call)?;
            call = Call { cseq: 2, answer: self.transact(&again)?, ..call };
        }
        self.acknowledge(&call)?;
        Ok(call)
    }

    fn acknowledge(&mut self, call: &Call) -> Result<()> {
        let branch = self.make("ack");
        let ack = text::ack(self, call, &branch);
        self.send(ack.as_bytes())?;
        self.acked.insert((call.id.clone(), call.answer.header(Header::CSeq)), ack.into_bytes());
        Ok(())
    }

    /// Calls somebody who is away and must be told that the call is remembered.
    /// # Errors
    /// When the answer is anything else.
    pub fn miss(&mut self, peer: &str) -> Result<()> {
        self.miss_with(peer, 480)
    }

    /// [`Phone::miss`] where a server upstream says in its own way that the callee is away.
    /// # Errors
    /// When the answer is anything else.
    pub fn miss_with(&mut self, peer: &str, status: u16) -> Result<()> {
        let call = self.invite(peer, "")?;
        let said = (call.status(), call.is_remembered());
        ensure!(said == (status, true), "{} called {peer}: {} with a grant: {}", self.who, said.0, said.1);
        Ok(())
    }

    /// Takes a recall as a willing phone does: 202, a new call to whom Refer-To names, BYE.
    /// # Errors
    /// When the new call is not answered.
    pub fn take_recall(&mut self, refer: &Received) -> Result<()> {
        self.answer(refer, 202, "")?;
        let target = refer.message().refer_to().map(|t| String::from_utf8_lossy(t.uri.user).into_owned()).unwrap_or_default();
        let call = self.invite(&target, "")?;
        ensure!(call.status() == 200, "{} called {target} again: {}", self.who, call.status());
        self.hang_up(&call)
    }

    /// Takes a recall to `callee`, a phone that answers.
    /// # Errors
    /// When either sees something else.
    pub fn reconnect(&mut self, refer: &Received, callee: &mut Self) -> Result<()> {
        self.while_answered(callee, |caller| caller.take_recall(refer))
    }

    /// Calls a phone that answers, and hangs up.
    /// # Errors
    /// When either sees something else.
    pub fn talk_to(&mut self, callee: &mut Self) -> Result<()> {
        let who = callee.who.clone();
        self.while_answered(callee, |caller| {
            let call = caller.invite(&who, "")?;
            ensure!(call.status() == 200, "{} called {who}: {}", caller.who, call.status());
            caller.hang_up(&call)
        })
    }

    fn while_answered(&mut self, callee: &mut Self, calls: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        std::thread::scope(|scope| {
            let answers = scope.spawn(|| callee.serve_calls(1));
            calls(self)?;
            answers.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map(drop)
        })
    }

    /// The final answer to a re-INVITE of an answered call. A 2xx is acknowledged by the route that the call has had from the start (RFC 3261
    /// section 12.2).
    /// # Errors
    /// When none comes.
    pub fn invite_again(&mut self, call: &mut Call) -> Result<u16> {
        let (branch, ack) = (self.make("again"), self.make("ack"));
        let invite = text::in_dialog(self, call, "INVITE", call.cseq + 1, &branch);
        let answer = self.transact(&invite)?;
        call.cseq += 1;
        let ack = text::in_dialog(self, call, "ACK", call.cseq, &ack);
        self.send(ack.as_bytes())?;
        self.acked.insert((call.id.clone(), answer.header(Header::CSeq)), ack.into_bytes());
        Ok(answer.status())
    }

    /// The same of a call that this phone answered.
    /// # Errors
    /// When none comes.
    pub fn invite_back(&mut self, invite: &Received) -> Result<u16> {
        let (branch, ack) = (self.make("back"), self.make("ack"));
        let request = text::callee_in_dialog(self, invite.message(), "INVITE", 1, &branch)?;
        let status = self.transact(&request)?.status();
        let ack = text::callee_in_dialog(self, invite.message(), "ACK", 1, &ack)?;
        self.send(ack.as_bytes())?;
        Ok(status)
    }

    /// BYE of an answered call.
    /// # Errors
    /// When it is not answered 200.
    pub fn hang_up(&mut self, call: &Call) -> Result<()> {
        let branch = self.make("bye");
        let bye = text::bye(self, call, &branch);
        let status = self.transact(&bye)?.status();
        ensure!(status == 200, "BYE of {}: {status}", self.who);
        Ok(())
    }

    /// BYE of a call that this phone answered.
    /// # Errors
    /// When it is not answered 200.
    pub fn end(&mut self, invite: &Received) -> Result<()> {
        let branch = self.make("bye");
        let bye = text::callee_in_dialog(self, invite.message(), "BYE", 2, &branch)?;
        let status = self.transact(&bye)?.status();
        ensure!(status == 200, "BYE of {}: {status}", self.who);
        Ok(())
    }

    /// Answers a call with 200 and waits for its ACK.
    /// # Errors
    /// When the ACK does not come.
    pub fn pick_up(&mut self, invite: &Received) -> Result<()> {
        self.answer(invite, 200, "")?;
        let id = invite.header(Header::CallId);
        loop {
            if self.expect("ACK")?.header(Header::CallId) == id {
                return Ok(());
            }
        }
    }

    /// Rings until the call is cancelled, because another phone has answered it.
    /// # Errors
    /// When it is not.
    pub fn ring_in_vain(&mut self) -> Result<()> {
        let invite = self.expect("INVITE")?;
        self.answer(&invite, 180, "")?;
        let cancel = self.expect("CANCEL")?;
        self.answer(&cancel, 200, "")?;
        self.answer(&invite, 487, "")?;
        self.expect("ACK").map(drop)
    }

    /// Answers that many calls, one after the other, each until its BYE. Returns who called.
    /// # Errors
    /// When one of the calls does not come or does not end.
    pub fn serve_calls(&mut self, count: usize) -> Result<Vec<String>> {
        let mut callers = Vec::new();
        while callers.len() < count {
            let invite = self.expect("INVITE")?;
            self.pick_up(&invite)?;
            let bye = self.expect("BYE")?;
            self.answer(&bye, 200, "")?;
            callers.push(invite.caller());
        }
        Ok(callers)
    }
}
