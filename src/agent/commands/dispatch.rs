//! Who carries out what: commands as they come, each once, and their results until the platform has them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deploy::{deploy, prune};
use super::exec::exec;
use super::journal::{Begin, Journal};
use super::logs::logs;
use super::order::{self, Order};
use super::output::Outgoing;
use super::policy::Policy;
use crate::agent::account::Account;
use crate::agent::config::{AgentConfig, IdentityMode};
use crate::agent::reports::Link;
use crate::config::Live;
use crate::wire::control::{Ack, CommandError, ExecInput, Message, Outcome, Requester};
use crate::wire::error::ErrorCode;
use crate::wire::token::Role;

/// A client is made anew after this long: certificates and kubeconfigs are replaced.
const RELOAD: Duration = Duration::from_secs(300);

/// Clients that are kept: one for each person who gives commands at the moment.
const MOST_CLIENTS: usize = 32;

/// Pieces of input that wait for a program; what more comes makes the control channel's queue for commands wait.
const INPUT: usize = 16;

/// The one that hands commands to those who carry them out.
pub(in crate::agent) struct Dispatcher(Rc<Inner>);

struct Inner {
    config: Live<AgentConfig>,
    link: watch::Receiver<Option<Link>>,
    /// How many run.
    count: watch::Sender<usize>,
    draining: CancellationToken,
    journal: RefCell<Journal>,
    running: RefCell<HashMap<String, Running>>,
    clients: RefCell<HashMap<Account, (Client, Instant)>>,
}

/// What can be said to a command that runs.
struct Running {
    cancel: CancellationToken,
    input: mpsc::Sender<ExecInput>,
    out: Outgoing,
}

impl Dispatcher {
    /// Commands come by a queue, and what comes of them leaves by whatever link is up. `count` is told how many run.
    pub(in crate::agent) fn new(
        config: Live<AgentConfig>,
        link: watch::Receiver<Option<Link>>,
        count: watch::Sender<usize>,
        draining: CancellationToken,
    ) -> Self {
        Self(Rc::new(Inner {
            config,
            link,
            count,
            draining,
            journal: RefCell::default(),
            running: RefCell::default(),
            clients: RefCell::default(),
        }))
    }

    /// Works until nobody can give orders any more.
    pub(in crate::agent) async fn run(self, mut orders: mpsc::Receiver<Order>) {
        let mut link = self.0.link.clone();
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.0.on(order).await,
                    None => return,
                },
                Ok(()) = link.changed() => drop(spawn_local(Rc::clone(&self.0).send_again())),
                () = self.0.draining.cancelled(), if !self.0.running.borrow().is_empty() => self.0.give_up().await,
            }
        }
    }
}

impl Inner {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only what `is_order` lets through comes here"
    )]
    async fn on(self: &Rc<Self>, order: Order) {
        match order.message {
            Message::Ack(ack) => {
                self.journal
                    .borrow_mut()
                    .acknowledge(&ack.command_id, Instant::now());
            }
            Message::Cancel(cancel) => {
                tracing::info!(
                    command = cancel.command_id,
                    reason = cancel.reason,
                    "a command is to be given up"
                );
                self.running
                    .borrow()
                    .get(&cancel.command_id)
                    .inspect(|it| it.cancel.cancel());
            }
            Message::Credit(credit) => {
                self.running
                    .borrow()
                    .get(&credit.command_id)
                    .inspect(|it| it.out.grant(credit.bytes));
            }
            Message::ExecInput(input) => self.input(input),
            command => self.command(order.id, command).await,
        }
    }

    /// Hands input to its program. One that is too far behind with reading is given up: nobody else waits for it.
    fn input(&self, input: ExecInput) {
        let running = self.running.borrow();
        let Some(command) = running.get(&input.command_id) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(input)) = command.input.try_send(input) {
            tracing::warn!(
                command = input.command_id,
                "a program reads its input too slowly and is given up"
            );
            command.cancel.cancel();
        }
    }

    async fn command(self: &Rc<Self>, id: String, command: Message) {
        let begun = self.journal.borrow_mut().begin(&id, Instant::now());
        let answer = match begun {
            Begin::New => return self.begin(id, command).await,
            Begin::Running | Begin::Done(None) => Message::Ack(Ack { command_id: id }),
            Begin::Done(Some(result)) => result,
            Begin::Refused(error) => {
                let Some(refusal) = order::ended(&id, &command, Outcome::Refused, Some(error))
                else {
                    return;
                };
                refusal
            }
        };
        self.say(answer).await;
    }

    async fn begin(self: &Rc<Self>, id: String, command: Message) {
        tracing::info!(
            command = id,
            kind = command.type_name(),
            "a command has come"
        );
        let late = order::expires_at(&command).is_some_and(|at| at < Timestamp::now());
        if late {
            let error = order::error(
                ErrorCode::TargetTimedOut,
                "the command came too late (expires_at); check the clocks",
            );
            if let Some(result) = order::ended(&id, &command, Outcome::Expired, Some(error)) {
                self.finish(&id, result).await;
            }
            return;
        }
        self.say(Message::Ack(Ack {
            command_id: id.clone(),
        }))
        .await;
        let (input_sender, input) = mpsc::channel(INPUT);
        let out = Outgoing::new(&id, self.outgoing(), order::credit(&command));
        let cancel = CancellationToken::new();
        let running = Running {
            cancel: cancel.clone(),
            input: input_sender,
            out: out.clone(),
        };
        self.running.borrow_mut().insert(id.clone(), running);
        self.tell_count();
        let this = Rc::clone(self);
        spawn_local(async move {
            let result = Box::pin(this.carry_out(&id, command, input, out, &cancel)).await;
            this.running.borrow_mut().remove(&id);
            if let Some(result) = result {
                this.finish(&id, result).await;
            }
            this.tell_count();
        });
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "only what `is_order` lets through comes here"
    )]
    async fn carry_out(
        &self,
        id: &str,
        command: Message,
        input: mpsc::Receiver<ExecInput>,
        out: Outgoing,
        cancel: &CancellationToken,
    ) -> Option<Message> {
        if let Err(error) = self.check_role(&command) {
            return order::ended(id, &command, Outcome::Refused, Some(error));
        }
        let client = match self.client(order::requester(&command)).await {
            Ok(client) => client,
            Err(error) => return order::ended(id, &command, Outcome::Refused, Some(error)),
        };
        let (client, policy) = (&client, &Policy::of(&self.config.get()));
        Some(match command {
            Message::Deploy(command) => {
                let told = |status| {
                    // Where the queue is full, the next one says more.
                    self.outgoing().try_send(Message::DeployStatus(status)).ok();
                };
                Message::DeployResult(deploy(client, policy, id, &command, told, cancel).await)
            }
            Message::Prune(command) => {
                Message::DeployResult(prune(client, policy, id, &command, cancel).await)
            }
            Message::Exec(command) => {
                Message::ExecResult(exec(client, policy, &command, input, out, cancel).await)
            }
            Message::Logs(command) => {
                Message::LogsEnd(logs(client, policy, &command, out, cancel).await)
            }
            _ => return None,
        })
    }

    fn role(&self, requester: Option<&Requester>) -> String {
        let default = self.config.get().commands.default_role;
        requester.map_or_else(|| default.to_string(), |it| it.role.clone())
    }

    /// Where all is done as the agent's own account, Kubernetes does not know that a viewer may only read.
    fn check_role(&self, command: &Message) -> Result<(), CommandError> {
        let shared = self.config.get().kubernetes.identity == IdentityMode::Agent;
        let role = self.role(order::requester(command));
        if !shared || role != Role::Viewer.as_str() || matches!(command, Message::Logs(_)) {
            return Ok(());
        }
        Err(order::error(
            ErrorCode::Forbidden,
            "the role viewer may only read",
        ))
    }

    /// The cluster's API as the account that a command is made as.
    async fn client(&self, requester: Option<&Requester>) -> Result<Client, CommandError> {
        let config = self.config.get();
        if !config.kubernetes.enabled {
            let message = "this agent does not use the cluster's API (kubernetes.enabled)";
            return Err(order::error(ErrorCode::Forbidden, message));
        }
        let account = Account {
            role: self.role(requester),
            subject: requester.map(|it| it.subject.clone()),
        };
        if let Some((client, made)) = self.clients.borrow().get(&account)
            && made.elapsed() < RELOAD
        {
            return Ok(client.clone());
        }
        let made = account
            .client(&config.kubernetes, &config.agent.namespace)
            .await;
        let client = made.map_err(|reason| {
            tracing::error!(
                reason,
                "a command has no usable configuration of the Kubernetes API"
            );
            order::error(
                ErrorCode::TargetFailed,
                "the agent has no usable configuration of the cluster's API; see its log",
            )
        })?;
        let mut clients = self.clients.borrow_mut();
        clients.retain(|_, (_, made)| made.elapsed() < RELOAD);
        if clients.len() < MOST_CLIENTS {
            clients.insert(account, (client.clone(), Instant::now()));
        }
        Ok(client)
    }

    /// Keeps a result until the platform has it, and sends it.
    async fn finish(&self, id: &str, result: Message) {
        tracing::info!(command = id, outcome = ?order::outcome(&result), "a command has ended");
        self.journal.borrow_mut().finish(id, result.clone());
        self.say_result(id, result).await;
    }

    async fn say_result(&self, id: &str, result: Message) {
        let sent = self.say(result).await;
        // The first version of the protocol acknowledges nothing.
        let acknowledges = self
            .link
            .borrow()
            .as_ref()
            .is_some_and(|link| link.protocol >= 2);
        if sent && !acknowledges {
            self.journal.borrow_mut().acknowledge(id, Instant::now());
        }
    }

    /// Sends what the platform does not have yet on a link that has come up.
    async fn send_again(self: Rc<Self>) {
        let results: Vec<Message> = self.journal.borrow().unacknowledged().cloned().collect();
        for result in results {
            let id = order::command_id(&result).to_owned();
            self.say_result(&id, result).await;
        }
    }

    /// Whether a message was handed to the link that is up; waits while that takes no more.
    async fn say(&self, message: Message) -> bool {
        self.outgoing().send(message).await.is_ok()
    }

    /// The queue of the link that is up, or one that takes nothing.
    fn outgoing(&self) -> mpsc::Sender<Message> {
        let link = self.link.borrow();
        link.as_ref()
            .map_or_else(|| mpsc::channel(1).0, |link| link.outgoing.clone())
    }

    fn tell_count(&self) {
        self.count.send_replace(self.journal.borrow().running());
    }

    /// The agent goes: what still runs would be of an unknown outcome.
    async fn give_up(&self) {
        self.running
            .borrow()
            .values()
            .for_each(|command| command.cancel.cancel());
        // Each removes itself when it has ended; this is asked again then.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests;
