//! Quorum systems with names.
//!
//! Trees, walls and hierarchies are written with votes so that no node is repeated, which keeps every question about them
//! easy at any size. Projective planes and paths repeat nodes and are for small systems.

use crate::{Error, Expr, Node, ReadWriteQuorumSystem, Result};

/// The most rows of a paths system.
const MOST_PATH_ROWS: usize = 4;

/// Any majority reads, any majority writes.
///
/// # Errors
/// When there is no node.
pub fn majority(nodes: &[Node]) -> Result<ReadWriteQuorumSystem> {
    Ok(ReadWriteQuorumSystem::reads(Expr::majority(nodes.iter().copied())?))
}

/// Gifford's weighted voting ("Weighted Voting for Replicated Data", 1979): reads need `read` votes, writes `write` votes.
///
/// # Errors
/// When a vote or a threshold is out of range, or reads and writes need not meet.
pub fn weighted(votes: &[(u64, Node)], read: u64, write: u64) -> Result<ReadWriteQuorumSystem> {
    let side = |threshold| Expr::vote(threshold, votes.iter().copied());
    ReadWriteQuorumSystem::both(side(read)?, side(write)?)
}

/// Any node reads, all nodes write.
///
/// # Errors
/// When there is no node.
pub fn read_one_write_all(nodes: &[Node]) -> Result<ReadWriteQuorumSystem> {
    Ok(ReadWriteQuorumSystem::reads(Expr::any(nodes.iter().copied())?))
}

/// Any `read` nodes read, and as few nodes write as must (simple flexible quorums).
///
/// # Errors
/// When `read` is not between 1 and the number of nodes.
pub fn threshold(nodes: &[Node], read: usize) -> Result<ReadWriteQuorumSystem> {
    Ok(ReadWriteQuorumSystem::reads(Expr::choose(read, nodes.iter().copied())?))
}

/// Nodes in rows: a whole row reads, one node of every row writes (Cheung, Ammar and Ahamad's grid).
///
/// # Errors
/// When the nodes do not fill rows of this width.
pub fn grid(nodes: &[Node], columns: usize) -> Result<ReadWriteQuorumSystem> {
    hierarchical_grid(nodes, &[columns])
}

/// A grid whose cells are grids whose cells are grids: `columns` by level, from the top. Every level is as high as wide but
/// the last, which takes the rows that are left.
///
/// # Errors
/// When the nodes do not fill the levels.
pub fn hierarchical_grid(nodes: &[Node], columns: &[usize]) -> Result<ReadWriteQuorumSystem> {
    fn cell(nodes: &[Node], columns: &[usize]) -> Result<Expr> {
        let Some((&width, inner)) = columns.split_first() else { return Expr::all(nodes.iter().copied()) };
        let cells = if inner.is_empty() { nodes.len() } else { width * width };
        let fits = width > 0 && cells > 0 && cells.is_multiple_of(width) && nodes.len().is_multiple_of(cells);
        if !fits {
            let message = format!("{} nodes do not fill rows of {width}", nodes.len());
            return Err(Error::BadShape { construction: "grid", message });
        }
        let cells: Vec<Expr> =
            nodes.chunks(nodes.len() / cells).map(|nodes| cell(nodes, inner)).collect::<Result<_>>()?;
        let rows = cells.chunks(width).map(|row| Expr::all(row.iter().cloned()));
        Expr::any(rows.collect::<Result<Vec<_>>>()?)
    }
    Ok(ReadWriteQuorumSystem::reads(cell(nodes, columns)?))
}

/// Majorities of majorities: groups of `branching` groups of `branching` .. nodes (Kumar's hierarchical quorum consensus).
///
/// # Errors
/// When the number of nodes is no power of `branching`, or `branching` is below 2.
pub fn hierarchical_majority(nodes: &[Node], branching: usize) -> Result<ReadWriteQuorumSystem> {
    fn group(nodes: &[Node], branching: usize) -> Result<Expr> {
        if let [node] = nodes {
            return Ok((*node).into());
        }
        if branching < 2 || nodes.is_empty() || !nodes.len().is_multiple_of(branching) {
            let message = format!("{} nodes are no power of {branching}", nodes.len());
            return Err(Error::BadShape { construction: "hierarchical majority", message });
        }
        let groups = nodes.chunks(nodes.len() / branching).map(|nodes| group(nodes, branching));
        Expr::majority(groups.collect::<Result<Vec<_>>>()?)
    }
    Ok(ReadWriteQuorumSystem::reads(group(nodes, branching)?))
}

/// Agrawal and El Abbadi's tree quorums on a complete binary tree in level order: two of a node and its two subtrees.
///
/// # Errors
/// When the number of nodes is not one less than a power of two.
pub fn tree(nodes: &[Node]) -> Result<ReadWriteQuorumSystem> {
    fn subtree(nodes: &[Node], root: usize) -> Result<Expr> {
        if 2 * root + 2 > nodes.len() {
            return Ok(nodes[root].into());
        }
        let (left, right) = (subtree(nodes, 2 * root + 1)?, subtree(nodes, 2 * root + 2)?);
        Expr::choose(2, [nodes[root].into(), left, right])
    }
    if !(nodes.len() + 1).is_power_of_two() || nodes.is_empty() {
        let message = format!("{} nodes are not one less than a power of two", nodes.len());
        return Err(Error::BadShape { construction: "tree", message });
    }
    Ok(ReadWriteQuorumSystem::reads(subtree(nodes, 0)?))
}

/// Peleg and Wool's crumbling wall with rows of these widths: a whole row and one node of every row below it. Written as
/// votes: a row of width w has a vote per node, all rows above it w - 1 votes together, and w are needed.
///
/// # Errors
/// When the widths do not sum to the number of nodes, or a row but the first has fewer than two nodes.
pub fn wall(nodes: &[Node], widths: &[usize]) -> Result<ReadWriteQuorumSystem> {
    let bad = |message: String| Err(Error::BadShape { construction: "wall", message });
    if widths.iter().sum::<usize>() != nodes.len() || widths.is_empty() {
        return bad(format!("the widths {widths:?} do not sum to {} nodes", nodes.len()));
    }
    if widths[0] == 0 || widths[1..].iter().any(|width| *width < 2) {
        return bad("only the first row may have a single node, and none may be empty".into());
    }
    let mut above = Expr::all(nodes[..widths[0]].iter().copied())?;
    let mut rest = &nodes[widths[0]..];
    for &width in &widths[1..] {
        let (row, below) = rest.split_at(width);
        let row = row.iter().map(|node| (1, Expr::from(*node)));
        above = Expr::vote(width as u64, row.chain([(width as u64 - 1, above)]))?;
        rest = below;
    }
    Ok(ReadWriteQuorumSystem::reads(above))
}

/// A hub and a rim: the hub and one node of the rim, or the whole rim.
///
/// # Errors
/// When there are fewer than three nodes.
pub fn wheel(nodes: &[Node]) -> Result<ReadWriteQuorumSystem> {
    if nodes.len() < 3 {
        let message = format!("a hub and a rim of at least two nodes, not {} nodes", nodes.len());
        return Err(Error::BadShape { construction: "wheel", message });
    }
    wall(nodes, &[1, nodes.len() - 1])
}

/// The lines of the projective plane of a prime order q over its q^2 + q + 1 points; any two lines meet in one point
/// (Maekawa). Order 2 is the Fano plane.
///
/// # Errors
/// When the order is no prime, or the nodes are not its points.
pub fn projective_plane(nodes: &[Node], order: usize) -> Result<ReadWriteQuorumSystem> {
    let bad = |message: String| Err(Error::BadShape { construction: "projective plane", message });
    let prime = order > 1 && (2..order).take_while(|d| d * d <= order).all(|d| !order.is_multiple_of(d));
    if !prime || order > 10 {
        return bad(format!("the order is 2, 3, 5 or 7, not {order}"));
    }
    let points: Vec<[usize; 3]> = (0..order * order)
        .map(|i| [1, i / order, i % order])
        .chain((0..order).map(|i| [0, 1, i]))
        .chain([[0, 0, 1]])
        .collect();
    if points.len() != nodes.len() {
        return bad(format!("order {order} has {} points, not {}", points.len(), nodes.len()));
    }
    // Points and lines have the same coordinates; a point is on a line if their product vanishes.
    let on = |line: &[usize; 3], point: &[usize; 3]| {
        line.iter().zip(point).map(|(a, b)| a * b).sum::<usize>() % order == 0
    };
    let line = |line: &[usize; 3]| {
        Expr::all(points.iter().zip(nodes).filter(|(point, _)| on(line, point)).map(|(_, node)| *node))
    };
    let lines = Expr::any(points.iter().map(line).collect::<Result<Vec<_>>>()?)?;
    ReadWriteQuorumSystem::both(lines.clone(), lines)
}

/// Naor and Wool's paths on a grid of `rows` rows whose edges are the nodes: reads are the paths from left to right, writes
/// the cuts that meet them all. Two rows are the system of the paper's case study. Nodes are the horizontal edges row by
/// row, `rows` in each, then the vertical edges row by row, `rows - 1` in each.
///
/// # Errors
/// When the nodes are not the edges, or there are more than four rows.
pub fn paths(nodes: &[Node], rows: usize) -> Result<ReadWriteQuorumSystem> {
    let bad = |message: String| Err(Error::BadShape { construction: "paths", message });
    if !(1..=MOST_PATH_ROWS).contains(&rows) {
        return bad(format!("there are 1 to {MOST_PATH_ROWS} rows, not {rows}"));
    }
    let edges = rows * rows + (rows - 1) * (rows - 1);
    if nodes.len() != edges {
        return bad(format!("{rows} rows have {edges} edges, not {}", nodes.len()));
    }
    let mut walk =
        Walk { rows, nodes, seen: vec![false; rows * (rows + 1)], edges: Vec::new(), found: Vec::new() };
    for row in 0..rows {
        walk.horizontal(row, 0, 1);
    }
    Ok(ReadWriteQuorumSystem::reads(Expr::any(walk.found)?))
}

/// A walk over the grid's corners; column 0 is the left side, column `rows` the right side.
struct Walk<'a> {
    rows: usize,
    nodes: &'a [Node],
    seen: Vec<bool>,
    edges: Vec<Node>,
    found: Vec<Expr>,
}

impl Walk<'_> {
    /// Walks the horizontal edge between two neighboring columns.
    fn horizontal(&mut self, row: usize, edge: usize, to: usize) {
        self.step(self.nodes[row * self.rows + edge], row, to);
    }

    /// Walks the vertical edge below `upper` in an inner column.
    fn vertical(&mut self, upper: usize, column: usize, to: usize) {
        self.step(self.nodes[self.rows * self.rows + upper * (self.rows - 1) + column - 1], to, column);
    }

    fn step(&mut self, edge: Node, row: usize, column: usize) {
        let corner = row * (self.rows + 1) + column;
        if column == 0 || self.seen[corner] {
            return;
        }
        self.edges.push(edge);
        if column == self.rows {
            self.found.push(Expr::all(self.edges.iter().copied()).expect("a path has an edge"));
        } else {
            self.seen[corner] = true;
            self.horizontal(row, column, column + 1);
            self.horizontal(row, column - 1, column - 1);
            if row + 1 < self.rows {
                self.vertical(row, column, row + 1);
            }
            if row > 0 {
                self.vertical(row - 1, column, row - 1);
            }
            self.seen[corner] = false;
        }
        self.edges.pop();
    }
}

/// Malkhi and Reiter's dissemination quorums for `faulty` Byzantine nodes and self-verifying data: any two quorums share a
/// correct node, and some quorum has no faulty one.
///
/// # Errors
/// When there are not more than three nodes per faulty one.
pub fn dissemination(nodes: &[Node], faulty: usize) -> Result<ReadWriteQuorumSystem> {
    byzantine("dissemination", nodes, faulty, [3, 1])
}

/// Malkhi and Reiter's masking quorums for `faulty` Byzantine nodes: in any two quorums' common nodes the correct ones
/// outvote the faulty ones.
///
/// # Errors
/// When there are not more than four nodes per faulty one.
pub fn masking(nodes: &[Node], faulty: usize) -> Result<ReadWriteQuorumSystem> {
    byzantine("masking", nodes, faulty, [4, 2])
}

/// So many nodes per faulty one, and one more, are needed, and as many are common to any two quorums.
fn byzantine(
    construction: &'static str,
    nodes: &[Node],
    faulty: usize,
    per_faulty: [usize; 2],
) -> Result<ReadWriteQuorumSystem> {
    let [least, common] = per_faulty.map(|times| faulty.saturating_mul(times).saturating_add(1));
    if nodes.len() < least {
        let message = format!("{least} nodes are needed, not {}", nodes.len());
        return Err(Error::BadShape { construction, message });
    }
    let quorums = Expr::choose((nodes.len() + common).div_ceil(2), nodes.iter().copied())?;
    ReadWriteQuorumSystem::both(quorums.clone(), quorums)
}

/// These reads, and as writes the sets that meet every read quorum in more than `common` nodes: a set does exactly when it
/// still meets them all after any `common` of its nodes are taken away.
///
/// # Errors
/// When a read quorum has no more than `common` nodes, or there are too many.
pub fn overlapping(reads: Expr, common: usize) -> Result<ReadWriteQuorumSystem> {
    let writes = reads.dual().resilient(common)?;
    let missing = Error::NoResilientSet { side: "write", f: common, failed: 0 };
    ReadWriteQuorumSystem::both(reads, writes.ok_or(missing)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cluster, Objective, Plan, Workload};

    fn nodes(n: usize) -> Vec<Node> {
        (0..n).map(|i| Node::new(i).unwrap()).collect()
    }

    /// The load over equal nodes of capacity 1, as an exact fraction.
    fn load(system: &ReadWriteQuorumSystem, n: usize, read: f64) -> String {
        let cluster = Cluster::named((0..n).map(|i| format!("n{i}"))).unwrap();
        let plan = Plan::minimise(Objective::Load, Workload::reads(read).unwrap());
        let proof = system.certify(&cluster, &plan).unwrap();
        proof.check(system, &cluster, &plan).unwrap();
        proof.value().to_string()
    }

    #[test]
    fn loads_are_those_of_the_closed_forms() {
        for (system, n, read, expected) in [
            (majority(&nodes(5)).unwrap(), 5, 0.5, "3/5"),
            (threshold(&nodes(5), 2).unwrap(), 5, 0.75, "1/2"),
            (read_one_write_all(&nodes(4)).unwrap(), 4, 1.0, "1/4"),
            (grid(&nodes(16), 4).unwrap(), 16, 0.5, "1/4"),
            (grid(&nodes(6), 3).unwrap(), 6, 1.0, "1/2"),
            (hierarchical_grid(&nodes(16), &[2, 2]).unwrap(), 16, 0.5, "1/4"),
            (hierarchical_majority(&nodes(9), 3).unwrap(), 9, 0.5, "4/9"),
            (tree(&nodes(7)).unwrap(), 7, 0.5, "1/2"),
            (tree(&nodes(15)).unwrap(), 15, 0.5, "2/5"),
            (wheel(&nodes(4)).unwrap(), 4, 0.5, "3/5"),
            (wheel(&nodes(5)).unwrap(), 5, 0.5, "4/7"),
            (projective_plane(&nodes(7), 2).unwrap(), 7, 0.5, "3/7"),
            (projective_plane(&nodes(13), 3).unwrap(), 13, 0.5, "4/13"),
            (masking(&nodes(5), 1).unwrap(), 5, 0.5, "4/5"),
            (dissemination(&nodes(4), 1).unwrap(), 4, 0.5, "3/4"),
        ] {
            assert_eq!(load(&system, n, read), expected, "{}", system.read_expr());
        }
    }

    #[test]
    fn walls_and_trees_are_their_own_duals() {
        for system in [
            wall(&nodes(6), &[1, 2, 3]).unwrap(),
            wheel(&nodes(6)).unwrap(),
            tree(&nodes(7)).unwrap(),
            projective_plane(&nodes(7), 2).unwrap(),
        ] {
            let minimal = system.read_expr().minimal_quorums().unwrap();
            assert_eq!(minimal, system.read_expr().dual().minimal_quorums().unwrap());
        }
        let quorums = wall(&nodes(6), &[1, 2, 3]).unwrap().read_expr().minimal_quorums().unwrap();
        assert_eq!(quorums.len(), 1 + 3 + 6, "a row and one node of every row below");
    }

    #[test]
    fn paths_of_two_rows_are_those_of_the_case_study() {
        let cluster = Cluster::named(["a", "b", "d", "e", "c"]).unwrap();
        let study = cluster.parse("a*b + a*c*e + d*e + d*c*b").unwrap();
        let system = paths(&nodes(5), 2).unwrap();
        assert_eq!(system.read_expr().minimal_quorums().unwrap(), study.minimal_quorums().unwrap());
        assert!(paths(&nodes(13), 3).unwrap().writes_meet_each_other().is_ok());
    }

    #[test]
    fn byzantine_quorums_share_enough_nodes() {
        assert_eq!(masking(&nodes(9), 2).unwrap().least_overlap().unwrap(), 5);
        assert_eq!(dissemination(&nodes(7), 2).unwrap().least_overlap().unwrap(), 3);
        assert!(masking(&nodes(4), 1).is_err());
        for common in 0..3 {
            let reads = Expr::choose(4, nodes(5)).unwrap();
            assert_eq!(overlapping(reads, common).unwrap().least_overlap().unwrap(), common + 1);
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() {
        assert!(grid(&nodes(5), 2).is_err());
        assert!(grid(&nodes(4), 0).is_err());
        assert!(tree(&nodes(6)).is_err());
        assert!(wall(&nodes(4), &[2, 1, 1]).is_err());
        assert!(wheel(&nodes(2)).is_err());
        assert!(projective_plane(&nodes(21), 4).is_err());
        assert!(paths(&nodes(6), 2).is_err());
        assert!(hierarchical_majority(&nodes(6), 3).is_err());
    }
}
