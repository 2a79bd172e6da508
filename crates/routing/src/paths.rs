//! A radix tree of path literals, walked once per look-up.
//!
//! Literals are kept in lower case; candidates for which case counts check the bytes again. The tree answers with the
//! smallest index of a route that takes the path, and routes are indexed in the order of their ranks.

use penstock_model::{PathMatch, Route};

/// Which routes of a list take a path.
#[derive(Debug, Default)]
pub(crate) struct PathTree {
    nodes: Vec<Node>,
    /// Regular expressions have no literal to walk along: asked in order, as long as they could still win.
    regexes: Vec<u32>,
}

#[derive(Debug, Default)]
struct Node {
    label: Box<[u8]>,
    /// First byte of a child's label, and the child; sorted by that byte.
    children: Vec<(u8, u32)>,
    /// Indices of routes whose literal ends here, ascending.
    routes: Vec<u32>,
}

impl PathTree {
    /// Builds the tree of routes that are sorted by rank.
    pub(crate) fn build<'a>(routes: impl Iterator<Item = &'a Route>) -> Self {
        let mut tree = Self { nodes: vec![Node::default()], regexes: Vec::new() };
        for (index, route) in (0_u32..).zip(routes) {
            match &route.path {
                PathMatch::Regex(_) => tree.regexes.push(index),
                other => tree.insert(other.literal_prefix().to_ascii_lowercase().as_bytes(), index),
            }
        }
        tree
    }

    /// The smallest index whose route takes the path, where `fits` says whether the rest of its conditions does.
    pub(crate) fn first<'a>(
        &self,
        path: &str,
        route: impl Fn(u32) -> &'a Route,
        fits: impl Fn(&Route) -> bool,
    ) -> Option<u32> {
        let mut best = u32::MAX;
        let mut consider = |candidates: &[u32]| {
            for &index in candidates.iter().take_while(|&&index| index < best) {
                let candidate = route(index);
                if candidate.path.matches(path) && fits(candidate) {
                    best = index;
                    return;
                }
            }
        };
        let bytes = path.as_bytes();
        let (mut at, mut node) = (0, &self.nodes[0]);
        loop {
            consider(&node.routes);
            let Some(next) = bytes.get(at).and_then(|byte| node.child(byte.to_ascii_lowercase())) else { break };
            node = &self.nodes[next as usize];
            match bytes.get(at..at + node.label.len()) {
                Some(part) if part.eq_ignore_ascii_case(&node.label) => at += node.label.len(),
                _ => break,
            }
        }
        consider(&self.regexes);
        (best != u32::MAX).then_some(best)
    }

    fn insert(&mut self, literal: &[u8], index: u32) {
        let (mut at, mut rest) = (0_usize, literal);
        while let Some(&first) = rest.first() {
            let Some(child) = self.nodes[at].child(first) else {
                let new = self.push(Node { label: rest.into(), ..Node::default() });
                self.link(at, first, new);
                at = new as usize;
                break;
            };
            let label = &self.nodes[child as usize].label;
            let common = label.iter().zip(rest).take_while(|(a, b)| a == b).count();
            if common < label.len() {
                self.split(child as usize, common);
            }
            at = child as usize;
            rest = &rest[common..];
        }
        self.nodes[at].routes.push(index);
    }

    /// Cuts a node's label; what it had goes one level down.
    fn split(&mut self, at: usize, common: usize) {
        let node = &mut self.nodes[at];
        let lower = Node {
            label: node.label[common..].into(),
            children: std::mem::take(&mut node.children),
            routes: std::mem::take(&mut node.routes),
        };
        node.label = node.label[..common].into();
        let first = lower.label[0];
        let lower = self.push(lower);
        self.link(at, first, lower);
    }

    fn push(&mut self, node: Node) -> u32 {
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).expect("a configuration has fewer than 2^32 path nodes")
    }

    fn link(&mut self, parent: usize, first: u8, child: u32) {
        let children = &mut self.nodes[parent].children;
        let place = children.partition_point(|&(byte, _)| byte < first);
        children.insert(place, (first, child));
    }
}

impl Node {
    fn child(&self, first: u8) -> Option<u32> {
        let place = self.children.binary_search_by_key(&first, |&(byte, _)| byte).ok()?;
        Some(self.children[place].1)
    }
}
