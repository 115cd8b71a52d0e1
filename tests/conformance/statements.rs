//! The statements, as the two tables beside this file have them.

/// One numbered statement.
#[derive(Debug)]
pub(crate) struct Statement {
    /// Without `MQTT-`.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) obliged: String,
    pub(crate) outside: String,
}

impl Statement {
    /// Whether a client can see the statement kept, or its own breach answered.
    pub(crate) fn is_observable(&self) -> bool {
        matches!(self.outside.as_str(), "yes" | "reaction")
    }
}

/// All statements of one version.
#[derive(Debug)]
pub(crate) struct Edition {
    pub(crate) title: &'static str,
    /// As tests name it.
    pub(crate) tag: &'static str,
    pub(crate) statements: Vec<Statement>,
}

impl Edition {
    pub(crate) fn both() -> [Self; 2] {
        [
            Self::read("MQTT 5", "MQTT5", include_str!("mqtt5-statements.tsv")),
            Self::read("MQTT 3.1.1", "MQTT311", include_str!("mqtt311-statements.tsv")),
        ]
    }

    /// What tests call a statement.
    pub(crate) fn name_of(&self, id: &str) -> String {
        format!("{}-{id}", self.tag)
    }

    fn read(title: &'static str, tag: &'static str, table: &str) -> Self {
        let statements = table
            .lines()
            .skip(1)
            .map(|line| {
                let mut columns = line.split('\t').map(str::to_owned);
                let mut next = || columns.next().expect("a table of seven columns");
                let id = next().trim_start_matches("MQTT-").to_owned();
                let _section = next();
                Statement { id, title: next(), obliged: next(), outside: next() }
            })
            .collect();
        Self { title, tag, statements }
    }
}
