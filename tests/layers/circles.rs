//! Finds circles of imports: among files, and among the folders that they stand in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The module path of each file, and those of the files that it imports from.
pub type Imports = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

/// The circles of files. The file of a folder is one as well.
pub fn of_files(imports: &Imports) -> Vec<String> {
    shown(&circles(imports))
}

/// The circles of what stands side by side in a folder, as far as a folder is among it; where files
/// alone are in a circle, [`of_files`] says so. A file and the folder of its name are one thing.
pub fn of_folders(imports: &Imports) -> Vec<String> {
    let mut neighbours = Imports::new();
    let mut folders = BTreeSet::new();
    for (from, targets) in imports {
        folders.extend((1..from.len()).map(|len| &from[..len]));
        for to in targets {
            let common = from.iter().zip(to).take_while(|(a, b)| a == b).count();
            // Where one stands above the other, they are no neighbours.
            let (Some(from), Some(to)) = (from.get(..=common), to.get(..=common)) else { continue };
            neighbours.entry(from.to_vec()).or_default().insert(to.to_vec());
            neighbours.entry(to.to_vec()).or_default();
        }
    }
    let mut found = circles(&neighbours);
    found.retain(|circle| circle.iter().any(|name| folders.contains(name.as_slice())));
    shown(&found)
}

/// The shortest circle through each node, each circle once.
fn circles(imports: &Imports) -> Vec<Vec<&Vec<String>>> {
    let mut seen = BTreeSet::new();
    let through = imports.keys().filter_map(|node| circle_through(node, imports));
    through.filter(|circle| seen.insert(circle.iter().copied().collect::<BTreeSet<_>>())).collect()
}

/// The shortest way from a node back to itself, with that node at both ends.
fn circle_through<'a>(
    start: &'a Vec<String>,
    imports: &'a Imports,
) -> Option<Vec<&'a Vec<String>>> {
    let mut came_from: BTreeMap<&Vec<String>, &Vec<String>> = BTreeMap::new();
    let mut due = VecDeque::from([start]);
    while let Some(node) = due.pop_front() {
        for next in imports.get(node).into_iter().flatten() {
            if next == start {
                let mut circle = vec![start, node];
                while let Some(before) = came_from.get(circle[circle.len() - 1]) {
                    circle.push(before);
                }
                circle.reverse();
                return Some(circle);
            }
            if !came_from.contains_key(next) {
                came_from.insert(next, node);
                due.push_back(next);
            }
        }
    }
    None
}

fn shown(circles: &[Vec<&Vec<String>>]) -> Vec<String> {
    let circle = |circle: &Vec<&Vec<String>>| {
        circle.iter().map(|names| names.join("::")).collect::<Vec<_>>().join(" -> ")
    };
    circles.iter().map(circle).collect()
}
