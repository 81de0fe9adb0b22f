//! What a scenario's types can't say: bounds, and which fields belong to which driver.

use super::{Driver, Scenario};
use crate::bare;

/// The most reconnects a second of one churning connection: a slower one would still be opening.
const MAX_CHURN_PER_CONN: f64 = 2.0;

fn at_least_one(fields: &[(&str, u64)]) -> Result<(), String> {
    match fields.iter().find(|(_, value)| *value == 0) {
        Some((field, _)) => Err(format!("{field} must be at least 1")),
        None => Ok(()),
    }
}

impl Scenario {
    /// Checks bounds; again after flags have changed something.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub fn check(&self) -> Result<(), String> {
        at_least_one(&[
            ("secs", self.secs),
            ("in_flight_cap", self.in_flight_cap),
            ("threads", self.threads as u64),
        ])?;
        self.check_schedule()?;
        match self.driver {
            Driver::Ws => self.check_ws(),
            Driver::Lab => self.check_lab(),
            Driver::Redis => self.check_redis(),
            Driver::Sql => self.check_sql(),
            Driver::Http => self.check_http(),
            Driver::Bare => self.check_bare(),
        }
    }

    /// What only the chat has.
    fn check_no_chat(&self) -> Result<(), String> {
        let foreign = [
            ("rooms", self.rooms),
            ("rooms_per_conn", self.rooms_per_conn),
            ("churn_conns", self.churn_conns),
        ];
        match foreign.iter().find(|(_, value)| *value > 0) {
            Some((field, _)) => Err(format!("{field} belongs to the driver `ws`")),
            None if self.slow.is_some() => Err("slow belongs to the driver `ws`".into()),
            None => Ok(()),
        }
    }

    fn check_sql(&self) -> Result<(), String> {
        self.check_no_chat()?;
        self.open_load(1)?;
        match &self.sql {
            Some(statements) => statements.check(self.conns),
            None => Err("[sql] is missing: which statements are to be sent?".into()),
        }
    }

    fn check_http(&self) -> Result<(), String> {
        self.check_no_chat()?;
        self.open_load(1)?;
        match &self.http {
            Some(requests) => requests.check(self.conns, self.body_bytes),
            None => Err("[http] is missing: which requests are to be sent?".into()),
        }
    }

    fn check_redis(&self) -> Result<(), String> {
        self.check_no_chat()?;
        match &self.redis {
            Some(commands) => commands.check(self.conns, self.body_bytes),
            None => Err("[redis] is missing: which commands are to be sent?".into()),
        }
    }

    fn check_bare(&self) -> Result<(), String> {
        self.open_load(1)?;
        at_least_one(&[("conns", self.conns as u64), ("rooms", self.rooms as u64)])?;
        if self.rooms > self.conns {
            return Err(format!("rooms ({}) must not be more than conns ({})", self.rooms, self.conns));
        }
        if self.conns > bare::MAX_SOCKETS {
            return Err(format!(
                "conns must be at most {}: one source address has no more",
                bare::MAX_SOCKETS
            ));
        }
        if self.rooms_per_conn != 1 || self.churn_conns > 0 || self.receive.is_some() {
            return Err("rooms_per_conn must be 1, and churn_conns and receive be left out".into());
        }
        if self.settle_ms != 0 {
            return Err("settle_ms must be 0: a bare loop has nothing that settles".into());
        }
        match (bare::MIN_BYTES..=bare::MAX_BYTES).contains(&self.body_bytes) {
            true => Ok(()),
            false => Err(format!("body_bytes must be {} to {}", bare::MIN_BYTES, bare::MAX_BYTES)),
        }
    }

    fn check_schedule(&self) -> Result<(), String> {
        if self.schedule.has_own_rate() {
            if self.rate != 0.0 {
                return Err(format!("rate must be left out: a {} has none, or its own", self.schedule));
            }
        } else if !(self.rate > 0.0 && self.rate <= 1e6) {
            return Err("rate must be over 0 and at most 1000000 a second".into());
        }
        self.load(1).map(drop).map_err(|e| e.to_string())
    }

    fn check_ws(&self) -> Result<(), String> {
        self.open_load(1)?;
        at_least_one(&[
            ("conns", self.conns as u64),
            ("rooms", self.rooms as u64),
            ("rooms_per_conn", self.rooms_per_conn as u64),
            ("devices", self.devices as u64),
        ])?;
        if self.lab.is_some() || self.variant.is_some() {
            return Err("lab and variant belong to the driver `lab`".into());
        }
        self.receive.map_or(Ok(()), |receive| receive.check())?;
        if self.devices > self.conns {
            return Err("devices must not be more than conns".into());
        }
        if self.rooms > self.conns {
            return Err(format!("rooms ({}) must not be more than conns ({})", self.rooms, self.conns));
        }
        if self.rooms_per_conn > self.rooms {
            return Err("rooms_per_conn must not be more than rooms".into());
        }
        let comes_and_goes = self.churn_per_s > 0.0 || self.storm.is_some();
        if (self.churn_conns > 0) != comes_and_goes {
            return Err("churn_conns and churn_per_s (or storm) must both be set, or neither".into());
        }
        if let Some(storm) = &self.storm {
            storm.check()?;
            if self.churn_per_s > 0.0 {
                return Err("churn_per_s must be left out where there is a storm".into());
            }
            if storm.first_ms + storm.over_ms >= self.secs * 1000 {
                return Err("storm: the first one must end within the window".into());
            }
        }
        self.slow.map_or(Ok(()), |slow| slow.check(self.rooms, self.secs * 1000))?;
        if self.churn_per_s.is_nan() || self.churn_per_s > self.churn_conns as f64 * MAX_CHURN_PER_CONN {
            return Err(format!(
                "churn_per_s must be at most {MAX_CHURN_PER_CONN} for each of the {} churn_conns",
                self.churn_conns
            ));
        }
        if !(crate::payload::MIN_BODY_BYTES..=chatlab_kit::message::MAX_BODY_BYTES).contains(&self.body_bytes)
        {
            return Err("body_bytes must be 61 to 4096".into());
        }
        Ok(())
    }

    fn check_lab(&self) -> Result<(), String> {
        self.open_load(1)?;
        if self.lab.is_none() {
            return Err("lab is missing: which lab's variant is to be driven?".into());
        }
        let foreign = [
            ("conns", self.conns),
            ("rooms", self.rooms),
            ("rooms_per_conn", self.rooms_per_conn),
            ("churn_conns", self.churn_conns),
            ("body_bytes", self.body_bytes),
            ("slow", self.slow_conns()),
        ];
        match foreign.iter().find(|(_, value)| *value > 0) {
            Some((field, _)) => Err(format!("{field} belongs to the driver `ws`")),
            None => Ok(()),
        }
    }
}
