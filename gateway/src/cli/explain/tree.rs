//! Drawing of a tree of lines. Knows nothing of mail; does not recurse.

/// Lines with their depth, in the order of reading.
#[derive(Debug, Default)]
pub(super) struct Tree {
    lines: Vec<(usize, String)>,
    depth: usize,
}

impl Tree {
    /// One line at the present depth.
    pub(super) fn line(&mut self, text: impl Into<String>) {
        self.lines.push((self.depth, text.into()));
    }

    /// One line, and what `below` adds stands below it.
    pub(super) fn branch(&mut self, text: impl Into<String>, below: impl FnOnce(&mut Self)) {
        self.line(text);
        self.depth = self.depth.saturating_add(1);
        below(self);
        self.depth = self.depth.saturating_sub(1);
    }

    /// The lines without the drawing.
    pub(super) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines
            .iter()
            .map(|(depth, text)| (*depth, text.as_str()))
    }

    /// The drawing; lines at depth 0 stand at the margin.
    pub(super) fn draw(&self) -> String {
        // From the end: `more[d]` says whether another line at depth d follows in the same branch.
        let mut more: Vec<bool> = Vec::new();
        let mut drawn: Vec<String> = Vec::with_capacity(self.lines.len());
        for (depth, text) in self.lines.iter().rev() {
            let mut line = String::new();
            more.resize(depth.saturating_add(1), false);
            for &open in more.iter().take(*depth).skip(1) {
                line.push_str(if open { "│  " } else { "   " });
            }
            if let (Some(last), true) = (more.last_mut(), *depth > 0) {
                line.push_str(if *last { "├─ " } else { "└─ " });
                *last = true;
            }
            line.push_str(text);
            drawn.push(line);
        }
        drawn.reverse();
        drawn
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_drawn_to_their_end() {
        let mut tree = Tree::default();
        tree.branch("root", |t| {
            t.branch("a", |t| {
                t.line("a1");
                t.line("a2");
            });
            t.branch("b", |t| t.line("b1"));
        });
        assert_eq!(
            tree.draw(),
            "root\n├─ a\n│  ├─ a1\n│  └─ a2\n└─ b\n   └─ b1\n"
        );
    }
}
