//! A YAML document as a tree whose scalars are texts exactly as written.
//!
//! The usual YAML loaders turn `NO` into false and `0123` into a number. Site names look like that, so only the
//! parser's events are used, and no scalar gets a type.

use std::rc::Rc;

use rustc_hash::FxHashMap;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::error::MapError;

/// How deep a document may be nested, through aliases or directly.
const DEEPEST: usize = 64;

/// A node with the line on which it is written; shared, because aliases refer to it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
    height: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    Scalar { text: String, plain: bool },
    List(Vec<Rc<Node>>),
    Mapping(Vec<(Rc<Node>, Rc<Node>)>),
}

impl Node {
    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The pairs of a mapping, in the order of the file, equal keys included.
    pub(super) fn pairs(&self) -> Option<&[(Rc<Node>, Rc<Node>)]> {
        match &self.value {
            Value::Mapping(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// Whether this stands for no value: a null, a blank text, or a collection of nothing.
    pub(super) fn is_nothing(&self) -> bool {
        match &self.value {
            Value::Scalar { text, plain } => {
                text.trim().is_empty() || (*plain && ["~", "null", "Null", "NULL"].contains(&text.as_str()))
            }
            Value::List(items) => items.is_empty(),
            Value::Mapping(pairs) => pairs.is_empty(),
        }
    }
}

/// A document, and how many nodes are written in its file.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Rc<Node>,
    pub(super) nodes: usize,
}

/// Reads the one document of a file.
pub(super) fn parse(text: &str) -> Result<Document, MapError> {
    let mut tree = Tree::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| not_yaml(&error))?;
        tree.event(event, span)?;
    }
    let root = tree.root.ok_or(MapError::NotAMapping { line: 1 })?;
    Ok(Document { root, nodes: tree.nodes })
}

fn not_yaml(error: &ScanError) -> MapError {
    MapError::NotYaml { line: error.marker().line(), why: error.info().to_owned() }
}

/// A collection that has begun and not ended.
struct Open {
    line: usize,
    anchor: usize,
    children: Vec<Rc<Node>>,
}

#[derive(Default)]
struct Tree {
    open: Vec<Open>,
    anchors: FxHashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
    nodes: usize,
}

impl Tree {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), MapError> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let value = Value::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.place(anchor, Node { line, value, height: 1 })
            }
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => self.begin(line, anchor),
            Event::SequenceEnd => self.end(Value::List),
            Event::MappingEnd => self.end(|children| Value::Mapping(pair_up(children))),
            Event::Alias(anchor) => self.alias(line, anchor),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, line: usize, anchor: usize) -> Result<(), MapError> {
        if self.open.len() >= DEEPEST {
            return Err(MapError::TooDeep { line, limit: DEEPEST });
        }
        self.open.push(Open { line, anchor, children: Vec::new() });
        Ok(())
    }

    fn end(&mut self, value: impl FnOnce(Vec<Rc<Node>>) -> Value) -> Result<(), MapError> {
        let Some(Open { line, anchor, children }) = self.open.pop() else { return Ok(()) };
        // Chains of aliases nest as deep as brackets do: a tree of any height could not even be dropped safely.
        let height = 1 + children.iter().map(|child| child.height).max().unwrap_or(0);
        if height > DEEPEST {
            return Err(MapError::TooDeep { line, limit: DEEPEST });
        }
        self.place(anchor, Node { line, value: value(children), height })
    }

    fn alias(&mut self, line: usize, anchor: usize) -> Result<(), MapError> {
        match self.anchors.get(&anchor).map(Rc::clone) {
            Some(node) => self.attach(node),
            None => Err(MapError::NotYaml { line, why: "an alias inside the node it refers to".to_owned() }),
        }
    }

    fn place(&mut self, anchor: usize, node: Node) -> Result<(), MapError> {
        let node = Rc::new(node);
        self.nodes += 1;
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.attach(node)
    }

    fn attach(&mut self, node: Rc<Node>) -> Result<(), MapError> {
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None if self.root.is_none() => self.root = Some(node),
            // A final `---` with nothing behind it loses no rules.
            None if node.is_nothing() => {}
            None => return Err(MapError::SecondDocument { line: node.line }),
        }
        Ok(())
    }
}

fn pair_up(children: Vec<Rc<Node>>) -> Vec<(Rc<Node>, Rc<Node>)> {
    let mut children = children.into_iter();
    std::iter::from_fn(|| children.next().zip(children.next())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(node: &Node) -> String {
        match &node.value {
            Value::Scalar { text, .. } => text.clone(),
            Value::List(items) => {
                format!("[{}]", items.iter().map(|item| shown(item)).collect::<Vec<_>>().join(","))
            }
            Value::Mapping(pairs) => {
                let pairs: Vec<_> =
                    pairs.iter().map(|(key, value)| format!("{}={}", shown(key), shown(value))).collect();
                format!("{{{}}}", pairs.join(","))
            }
        }
    }

    fn read(text: &str) -> String {
        parse(text).map_or_else(|error| error.to_string(), |document| shown(&document.root))
    }

    #[test]
    fn scalars_stay_as_written() {
        assert_eq!(read("NO: [0123, 1_000, ~, yes, 1.0e3, !!int 7]"), "{NO=[0123,1_000,~,yes,1.0e3,7]}");
        assert_eq!(read("a:\n  - 2001:db8:a::/48\n  - 1:2\n"), "{a=[2001:db8:a::/48,1:2]}");
        assert_eq!(read("a: [2001:db8:a::/48, b]"), "{a=[2001:db8:a::/48,b]}");
        assert_eq!(read("{\"a\": \"\\u00e9\", 'b': 'it''s'}"), "{a=é,b=it's}");
        assert_eq!(read("%YAML 1.2\n---\na: 1\na: 2\n...\n"), "{a=1,a=2}");
    }

    #[test]
    fn aliases_are_followed_and_bounded() {
        assert_eq!(read("a: &x [1]\nb: *x\n&k c: *k"), "{a=[1],b=[1],c=c}");
        assert!(read("a: &x [*x]").contains("alias"));
        assert!(read("a: *nobody").contains("not YAML"));
        let links = (1..1000).map(|number| format!("a{number}: &a{number} [*a{}]\n", number - 1));
        let chain: String = std::iter::once("a0: &a0 [x]\n".to_owned()).chain(links).collect();
        assert!(read(&chain).contains("nested deeper"));
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("a: {}", "[".repeat(100_000));
        assert!(matches!(parse(&deep), Err(MapError::TooDeep { .. } | MapError::NotYaml { .. })));
        assert!(matches!(parse(&"- ".repeat(20_000)), Err(MapError::TooDeep { line: 1, .. })));
    }

    #[test]
    fn one_document_only() {
        assert_eq!(read("---\na: 1\n---\n"), "{a=1}");
        assert_eq!(parse("---\na: 1\n---\nb: 2\n").map(|_| ()), Err(MapError::SecondDocument { line: 4 }));
        assert_eq!(parse("").map(|_| ()), Err(MapError::NotAMapping { line: 1 }));
    }
}
