//! Reads the fields of a mapping by name and reports everything that does not fit: wrong shapes,
//! missing fields, and in the end the fields that nobody asked for.

use super::problem::Problems;
use super::tree::{Entry, Node, Value};
use super::value::FromText;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use std::borrow::Cow;
use std::rc::Rc;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    pub line: u32,
    /// The whole way to it, e.g. `events[1].revenue`.
    pub field: Rc<str>,
    pub value: T,
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// The fields of one mapping.
pub struct Fields<'a> {
    pub file: &'a str,
    pub line: u32,
    path: String,
    entries: &'a [Entry],
    asked: Vec<&'static str>,
    problems: &'a Problems,
}

impl<'a> Fields<'a> {
    /// The fields of a node; reports when it is no mapping.
    pub fn of(node: &'a Node, file: &'a str, path: String, problems: &'a Problems) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            problems.add(file, node.line, &path, "write fields here, as `name: value` lines");
            return None;
        };
        Some(Self { file, line: node.line, path, entries, asked: Vec::new(), problems })
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn ask(&mut self, name: &'static str) -> Option<&'a Node> {
        self.asked.push(name);
        let entries: &'a [Entry] = self.entries;
        entries.iter().find(|entry| entry.key == name).map(|entry| &entry.value)
    }

    fn report(&self, line: u32, path: &str, message: impl Into<String>) {
        self.problems.add(self.file, line, path, message);
    }

    /// An optional value; null is the same as absent.
    pub fn optional<T: FromText>(&mut self, name: &'static str) -> Option<At<T>> {
        let node = self.ask(name)?;
        let path = self.path_of(name);
        self.scalar(node, path)
    }

    /// A value that must be there.
    pub fn required<T: FromText>(&mut self, name: &'static str) -> Option<At<T>> {
        let node = self.ask(name);
        let path = self.path_of(name);
        match node {
            Some(node) if node.value != Value::Null => self.scalar(node, path),
            Some(node) => {
                self.report(node.line, &path, "is empty");
                None
            }
            None => {
                self.report(self.line, &path, "is missing");
                None
            }
        }
    }

    /// A list of values; a single value stands for a list of one.
    pub fn list<T: FromText>(&mut self, name: &'static str) -> Option<Vec<At<T>>> {
        let node = self.ask(name)?;
        let path = self.path_of(name);
        match &node.value {
            Value::Null => None,
            Value::List(nodes) => {
                let read = |(index, node)| self.scalar(node, format!("{path}[{index}]"));
                Some(nodes.iter().enumerate().filter_map(read).collect())
            }
            _ => Some(self.scalar(node, path).into_iter().collect()),
        }
    }

    /// A mapping below this one.
    pub fn map<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Fields<'a>) -> T,
    ) -> Option<T> {
        let node = self.ask(name)?;
        if node.value == Value::Null {
            return None;
        }
        let mut fields = Fields::of(node, self.file, self.path_of(name), self.problems)?;
        let value = read(&mut fields);
        fields.finish();
        Some(value)
    }

    /// A list of mappings.
    pub fn maps<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Fields<'a>) -> T,
    ) -> Option<Vec<T>> {
        let node = self.ask(name)?;
        let path = self.path_of(name);
        match &node.value {
            Value::Null => None,
            Value::List(nodes) => {
                let mut list = Vec::with_capacity(nodes.len());
                for (index, node) in nodes.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    if let Some(mut fields) = Fields::of(node, self.file, path, self.problems) {
                        list.push(read(&mut fields));
                        fields.finish();
                    }
                }
                Some(list)
            }
            _ => {
                self.report(node.line, &path, "write a list here, each entry beginning with `- `");
                None
            }
        }
    }

    fn scalar<T: FromText>(&self, node: &Node, path: String) -> Option<At<T>> {
        match &node.value {
            Value::Null => None,
            Value::Text(text) => match T::from_text(text) {
                Ok(value) => Some(At { line: node.line, field: path.into(), value }),
                Err(message) => {
                    self.report(node.line, &path, message);
                    None
                }
            },
            Value::List(_) | Value::Map(_) => {
                self.report(node.line, &path, format!("write one value here: {}", T::EXAMPLE));
                None
            }
        }
    }

    /// The names that were asked for.
    #[must_use]
    pub fn asked(&self) -> &[&'static str] {
        &self.asked
    }

    /// Reports the fields that nobody asked for.
    pub fn finish(&self) {
        for entry in self.entries {
            if !self.asked.contains(&entry.key.as_str()) {
                let path = self.path_of(&entry.key);
                let known = self.asked.join(", ");
                let message = format!("there is no such field here; there are {known}");
                self.report(entry.line, &path, message);
            }
        }
    }
}
