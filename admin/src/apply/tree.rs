//! YAML (and JSON, which is YAML too) as a tree that knows its lines. Scalars stay text: an amount
//! never passes through binary floating point, and `1.10` is still `1.10`.

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle};
use std::collections::BTreeMap;

/// Nodes of one file; what an anchor keeps and what an alias repeats count each time (a small file
/// of nested anchors or aliases could otherwise fill the memory).
pub const NODES_MAX: usize = 100_000;
/// Collections inside each other, those that aliases bring included. No document has more than a
/// handful, and each level takes some of the stack whenever a tree is copied or dropped.
pub const DEPTH_MAX: usize = 64;
/// Fields of one mapping. No document has more than a few dozen, and each is compared with those
/// before it.
pub const FIELDS_MAX: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub line: u32,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    /// Of the key.
    pub line: u32,
    pub value: Node,
}

/// Why a file is no tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeError {
    pub line: u32,
    pub message: String,
}

/// A collection that is still open.
struct Open {
    line: u32,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, u32)> },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    documents: Vec<Node>,
    nodes: usize,
}

/// Reads every document of a file; empty ones (`---` and nothing) are left out.
pub fn parse(text: &str) -> Result<Vec<Node>, TreeError> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| TreeError {
            line: line(error.marker().line()),
            message: format!("this is not YAML: {}", error.info()),
        })?;
        builder.take(event, line(span.start.line()))?;
    }
    Ok(builder.documents)
}

fn line(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX).max(1)
}

impl Builder {
    fn take(&mut self, event: Event<'_>, line: u32) -> Result<(), TreeError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if tag.is_some() {
                    return Err(unsupported(line, "tags (!…)"));
                }
                let null =
                    style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null");
                let value = if null { Value::Null } else { Value::Text(text.into_owned()) };
                self.complete(Node { line, value }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.begin(line, anchor, tag.is_some(), OpenKind::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let kind = OpenKind::Map { entries: Vec::new(), key: None };
                self.begin(line, anchor, tag.is_some(), kind)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { line, anchor, kind }) = self.open.pop() else { return Ok(()) };
                let value = match kind {
                    OpenKind::List(nodes) => Value::List(nodes),
                    OpenKind::Map { entries, .. } => Value::Map(entries),
                };
                self.complete(Node { line, value }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor).cloned() else {
                    return Err(unsupported(line, "an alias inside its own anchor"));
                };
                if self.open.len() + depth(&node) > DEPTH_MAX {
                    return Err(too_deep(line));
                }
                self.nodes += size(&node);
                self.complete(Node { line, ..node }, 0)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn begin(
        &mut self,
        line: u32,
        anchor: usize,
        tagged: bool,
        kind: OpenKind,
    ) -> Result<(), TreeError> {
        if tagged {
            return Err(unsupported(line, "tags (!…)"));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(too_deep(line));
        }
        self.open.push(Open { line, anchor, kind });
        Ok(())
    }

    /// Puts a whole node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<(), TreeError> {
        self.nodes += if anchor == 0 { 1 } else { 1 + size(&node) };
        if self.nodes > NODES_MAX {
            let message = format!("the file has more than {NODES_MAX} values; split it");
            return Err(TreeError { line: node.line, message });
        }
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => {
                if node.value != Value::Null {
                    self.documents.push(node);
                }
            }
            Some(OpenKind::List(nodes)) => nodes.push(node),
            Some(OpenKind::Map { entries, key }) => match key.take() {
                None => match node.value {
                    Value::Text(text) => *key = Some((text, node.line)),
                    _ => return Err(unsupported(node.line, "a key that is not text")),
                },
                Some((name, line)) => {
                    if entries.iter().any(|entry| entry.key == name) {
                        let message = format!("the field {name:?} is there twice");
                        return Err(TreeError { line, message });
                    }
                    if entries.len() == FIELDS_MAX {
                        let message = format!("more than {FIELDS_MAX} fields in one place");
                        return Err(TreeError { line, message });
                    }
                    entries.push(Entry { key: name, line, value: node });
                }
            },
        }
        Ok(())
    }
}

fn unsupported(line: u32, what: &str) -> TreeError {
    TreeError { line, message: format!("{what} cannot be used here") }
}

fn too_deep(line: u32) -> TreeError {
    TreeError { line, message: format!("more than {DEPTH_MAX} lists and mappings in each other") }
}

/// Collections in each other.
fn depth(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Text(_) => 0,
        Value::List(nodes) => 1 + nodes.iter().map(depth).max().unwrap_or(0),
        Value::Map(entries) => {
            1 + entries.iter().map(|entry| depth(&entry.value)).max().unwrap_or(0)
        }
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::Null | Value::Text(_) => 1,
        Value::List(nodes) => 1 + nodes.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|entry| size(&entry.value)).sum::<usize>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        let text = match &node.value {
            Value::Null => "null".to_owned(),
            Value::Text(text) => format!("{text:?}"),
            Value::List(nodes) => nodes.iter().map(show).collect::<Vec<_>>().join(","),
            Value::Map(entries) => entries
                .iter()
                .map(|entry| format!("{}@{}={}", entry.key, entry.line, show(&entry.value)))
                .collect::<Vec<_>>()
                .join(" "),
        };
        format!("({text})@{}", node.line)
    }

    fn check(text: &str, expected: Result<&[&str], (u32, &str)>) {
        let found = parse(text).map(|nodes| nodes.iter().map(show).collect::<Vec<_>>());
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{text}"),
            (Err(error), Err((line, message))) => {
                assert_eq!(error.line, line, "{text}: {}", error.message);
                assert!(error.message.contains(message), "{text}: {}", error.message);
            }
            (found, expected) => panic!("{text}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn text_stays_text_and_lines_are_known() {
        check("a: 1.10\nb: [x, '~']\n", Ok(&["(a@1=(\"1.10\")@1 b@2=((\"x\")@2,(\"~\")@2)@2)@1"]));
        check("---\n---\na: ~\n---\nb:\n", Ok(&["(a@3=(null)@3)@3", "(b@5=(null)@5)@5"]));
        check("{\n\t\"a\": [1,\n\t2]}", Ok(&["(a@2=((\"1\")@2,(\"2\")@3)@2)@1"]));
        check("a: &x {k: v}\nb: *x\n", Ok(&["(a@1=(k@1=(\"v\")@1)@1 b@2=(k@1=(\"v\")@1)@2)@1"]));
        check("", Ok(&[]));
    }

    #[test]
    fn what_is_no_tree_says_where() {
        check("a: 1\nb: [", Err((2, "this is not YAML")));
        check("a: 1\n\na: 2", Err((3, "\"a\" is there twice")));
        check("a: !!int 1", Err((1, "tags")));
        check("? [a]\n: b", Err((1, "a key that is not text")));
        let laughs: String =
            (1..20).map(|n| format!("a{n}: &a{n} [*a{0}, *a{0}]\n", n - 1)).collect();
        check(&format!("a0: &a0 [x, x]\n{laughs}"), Err((14, "more than 100000 values")));
    }

    #[test]
    fn little_cannot_be_made_much() {
        let nested = |depth: usize| format!("{}x{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&nested(DEPTH_MAX)).is_ok());
        check(&nested(DEPTH_MAX + 1), Err((1, "more than 64 lists and mappings in each other")));
        // Deeper than any text of it: each alias brings the levels of the one before.
        let chain: String =
            (1..9).map(|n| format!("a{n}: &a{n} [[[[[[[[*a{}]]]]]]]]\n", n - 1)).collect();
        check(&format!("a0: &a0 [x]\n{chain}"), Err((9, "more than 64 lists")));
        // Every anchor on the way keeps all that is below it.
        let wide = "x, ".repeat(NODES_MAX / 3);
        let anchors: String = (0..9).map(|n| format!("&a{n} [")).collect();
        check(&format!("{anchors}{wide}{}", "]".repeat(9)), Err((1, "more than 100000 values")));
        let fields: String = (0..=FIELDS_MAX).map(|n| format!("f{n}: 1\n")).collect();
        check(&fields, Err((1_001, "more than 1000 fields")));
    }
}
