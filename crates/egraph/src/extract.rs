//! Chooses one way to compute each class: the cheapest program, shared values counted once.
//!
//! The choice starts from the program as it was. A class then takes the op whose closure (the op and
//! everything it needs, each once) is cheapest, never one that needs the class itself; at last single
//! choices change while the whole gets cheaper. Every step looks at the true closures, so what comes out
//! has no cycle. Ties keep what was there before.

/// A way to compute a class.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    /// What the op costs by itself.
    pub(crate) cost: u64,
    /// The classes it needs.
    pub(crate) needs: Vec<u32>,
}

/// What is to be chosen.
#[derive(Debug, Default)]
pub(crate) struct Problem {
    /// The candidates of each class.
    pub(crate) classes: Vec<Vec<Candidate>>,
    /// The candidate of each class that the program has now; none for new classes.
    pub(crate) initial: Vec<Option<usize>>,
    /// Classes that are needed.
    pub(crate) roots: Vec<u32>,
    /// Candidates that pay off together or not at all, such as all results of one op: class and position.
    pub(crate) groups: Vec<Vec<(u32, usize)>>,
}

/// The chosen candidate of each class, none where it is not needed or has none.
pub(crate) type Choice = Vec<Option<usize>>;

/// Most rounds over all classes.
const ROUNDS: usize = 12;

/// The best choice that was found, and its cost.
pub(crate) fn extract(problem: &Problem) -> (Choice, u64) {
    let mut walk = Walk::new(problem);
    let mut best = problem.initial.clone();
    let mut best_cost = walk.total(&best).unwrap_or(u64::MAX);
    let mut cheapest = best.clone();
    greedy(problem, &mut walk, &mut cheapest);
    // What is cheapest by itself need not be with others around: the program as it was is a start, too.
    let as_it_was = best.iter().zip(&cheapest).map(|(&own, &new)| own.or(new)).collect();
    for mut choice in [cheapest, as_it_was] {
        if let Some(cost) = improve(problem, &mut walk, &mut choice)
            && cost < best_cost
        {
            (best, best_cost) = (choice, cost);
        }
    }
    (best, best_cost)
}

/// The cost of a choice: of every class that the roots need, once. `None` where a class has no
/// candidate or needs itself.
#[cfg(test)]
fn total(problem: &Problem, choice: &Choice) -> Option<u64> {
    Walk::new(problem).total(choice)
}

/// Gives each class the candidate with the cheapest closure, until nothing changes.
fn greedy(problem: &Problem, walk: &mut Walk<'_>, choice: &mut Choice) {
    for _ in 0..ROUNDS {
        let mut changed = false;
        for class in 0..problem.classes.len() {
            let candidates = &problem.classes[class];
            let settled = candidates.len() == 1 && choice[class].is_some();
            if settled || candidates.is_empty() {
                continue;
            }
            let mut best = choice[class]
                .and_then(|at| Some((walk.closure(choice, class as u32, &candidates[at])?, at)));
            for (at, candidate) in candidates.iter().enumerate() {
                let cost = walk.closure(choice, class as u32, candidate);
                if let Some(cost) = cost
                    && best.is_none_or(|(least, _)| cost < least)
                {
                    best = Some((cost, at));
                }
            }
            if let Some((_, at)) = best
                && choice[class] != Some(at)
            {
                choice[class] = Some(at);
                changed = true;
            }
        }
        if !changed {
            return;
        }
    }
}

/// Changes single choices while the whole gets cheaper. Gives the cost of the whole.
fn improve(problem: &Problem, walk: &mut Walk<'_>, choice: &mut Choice) -> Option<u64> {
    let mut cost = walk.total(choice)?;
    for _ in 0..ROUNDS {
        let mut changed = false;
        let mut counts = Counts::of(problem, choice, &walk.order);
        for class in walk.order.clone() {
            for at in 0..problem.classes[class as usize].len() {
                if !counts.gains(choice, class, at) {
                    continue;
                }
                let before = choice[class as usize].replace(at);
                match walk.total(choice) {
                    Some(less) if less < cost => {
                        cost = less;
                        changed = true;
                        counts = Counts::of(problem, choice, &walk.order);
                    }
                    _ => choice[class as usize] = before,
                }
            }
        }
        changed |= improve_groups(problem, walk, (&mut *choice, &mut cost));
        walk.total(choice)?;
        if !changed {
            break;
        }
    }
    Some(cost)
}

/// Takes groups of candidates together where that makes the whole cheaper. Says whether any was taken.
fn improve_groups(
    problem: &Problem,
    walk: &mut Walk<'_>,
    (choice, cost): (&mut Choice, &mut u64),
) -> bool {
    let mut changed = false;
    for group in &problem.groups {
        let before: Vec<Option<usize>> =
            group.iter().map(|&(class, _)| choice[class as usize]).collect();
        for &(class, at) in group {
            choice[class as usize] = Some(at);
        }
        match walk.total(choice) {
            Some(less) if less < *cost => {
                *cost = less;
                changed = true;
            }
            _ => {
                // Backwards, since a class may stand in a group twice.
                for (&(class, _), before) in group.iter().zip(before).rev() {
                    choice[class as usize] = before;
                }
            }
        }
    }
    changed
}

/// How many chosen candidates and roots need each class: what tells the gain of another choice without a
/// walk over everything.
struct Counts<'p> {
    problem: &'p Problem,
    needed: Vec<u32>,
    /// Changes that are to be undone: a class, and whether it was needed once more.
    journal: Vec<(u32, bool)>,
}

impl<'p> Counts<'p> {
    /// Those of the classes `used`, which are all that the choice needs.
    fn of(problem: &'p Problem, choice: &Choice, used: &[u32]) -> Self {
        let mut needed = vec![0; problem.classes.len()];
        let chosen = used.iter().filter_map(|&class| {
            Some(&problem.classes[class as usize].get(choice[class as usize]?)?.needs)
        });
        chosen.flatten().chain(&problem.roots).for_each(|&class| needed[class as usize] += 1);
        Self { problem, needed, journal: Vec::new() }
    }

    /// Whether candidate `at` in place of the chosen one of `class` makes the whole cheaper, if it leads to
    /// no cycle.
    fn gains(&mut self, choice: &Choice, class: u32, at: usize) -> bool {
        let candidates = &self.problem.classes[class as usize];
        let Some(now) = choice[class as usize].filter(|&now| now != at) else { return false };
        let (Some(old), Some(new)) = (candidates.get(now), candidates.get(at)) else {
            return false;
        };
        if self.needed[class as usize] == 0 {
            return false;
        }
        let added = self.change(choice, &new.needs, true).saturating_add(new.cost.into());
        let freed = self.change(choice, &old.needs, false).saturating_add(old.cost.into());
        for (class, more) in self.journal.drain(..).rev() {
            let needed = &mut self.needed[class as usize];
            *needed = if more { *needed - 1 } else { *needed + 1 };
        }
        added < freed
    }

    /// Counts that `needs` are needed once `more`, or once less. Gives the cost of what is needed from then
    /// on, or no more.
    fn change(&mut self, choice: &Choice, needs: &[u32], more: bool) -> u128 {
        let mut sum = 0u128;
        let mut stack = needs.to_vec();
        while let Some(class) = stack.pop() {
            let needed = &mut self.needed[class as usize];
            let is_last = *needed == u32::from(!more);
            *needed = if more { *needed + 1 } else { needed.saturating_sub(1) };
            self.journal.push((class, more));
            if !is_last {
                continue;
            }
            let chosen =
                choice[class as usize].and_then(|at| self.problem.classes[class as usize].get(at));
            match chosen {
                Some(candidate) => {
                    sum = sum.saturating_add(candidate.cost.into());
                    stack.extend(&candidate.needs);
                }
                // It cannot be had.
                None => return u128::MAX,
            }
        }
        sum
    }
}

/// Walks closures.
struct Walk<'p> {
    problem: &'p Problem,
    /// The walk that a class was last entered in, and the one it was last left in.
    entered: Vec<u32>,
    left: Vec<u32>,
    now: u32,
    /// Classes of the last walk, operands before users.
    order: Vec<u32>,
}

impl<'p> Walk<'p> {
    fn new(problem: &'p Problem) -> Self {
        let classes = problem.classes.len();
        Self { problem, entered: vec![0; classes], left: vec![0; classes], now: 0, order: vec![] }
    }

    /// The cost of `candidate` for `class` with all that it needs; `None` if it needs `class`.
    fn closure(&mut self, choice: &Choice, class: u32, candidate: &Candidate) -> Option<u64> {
        self.start();
        // Entered and never left: reaching it again is a cycle.
        self.entered[class as usize] = self.now;
        let needed = self.sum(choice, &candidate.needs)?;
        Some(needed.saturating_add(candidate.cost))
    }

    fn total(&mut self, choice: &Choice) -> Option<u64> {
        self.start();
        self.sum(choice, &self.problem.roots)
    }

    fn start(&mut self) {
        self.now += 1;
        self.order.clear();
    }

    fn sum(&mut self, choice: &Choice, roots: &[u32]) -> Option<u64> {
        let problem = self.problem;
        let mut sum = 0u64;
        let mut stack: Vec<(u32, usize)> = Vec::new();
        for &root in roots {
            self.enter(root, &mut stack)?;
            while let Some((class, next)) = stack.pop() {
                let at = choice[class as usize]?;
                let candidate = problem.classes[class as usize].get(at)?;
                if let Some(&need) = candidate.needs.get(next) {
                    stack.push((class, next + 1));
                    self.enter(need, &mut stack)?;
                } else {
                    self.left[class as usize] = self.now;
                    self.order.push(class);
                    sum = sum.saturating_add(candidate.cost);
                }
            }
        }
        Some(sum)
    }

    fn enter(&mut self, class: u32, stack: &mut Vec<(u32, usize)>) -> Option<()> {
        if self.left[class as usize] == self.now {
            return Some(());
        }
        if self.entered[class as usize] == self.now {
            return None;
        }
        self.entered[class as usize] = self.now;
        stack.push((class, 0));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(cost: u64, needs: &[u32]) -> Candidate {
        Candidate { cost, needs: needs.to_vec() }
    }

    #[test]
    fn shared_classes_count_once() {
        // 0: a leaf; 1 and 2 need 3, which is dear; 1 and 2 may do without at 6 each.
        let problem = Problem {
            classes: vec![
                vec![candidate(0, &[])],
                vec![candidate(6, &[0]), candidate(1, &[3])],
                vec![candidate(6, &[0]), candidate(1, &[3])],
                vec![candidate(8, &[0])],
                vec![candidate(1, &[1, 2])],
            ],
            initial: vec![Some(0), Some(0), Some(1), Some(0), Some(0)],
            roots: vec![4],
            groups: vec![],
        };
        let (choice, cost) = extract(&problem);
        assert_eq!((cost, choice[1]), (11, Some(1)));
    }

    #[test]
    fn a_deep_chain_of_residuals_is_added_up_exactly() {
        let mut classes = vec![vec![candidate(0, &[])]];
        for i in 0..100 {
            classes.push(vec![candidate(3, &[i, i]), candidate(2, &[i, i])]);
        }
        let initial = vec![Some(0); 101];
        let problem = Problem { classes, initial, roots: vec![100], groups: vec![] };
        assert_eq!(extract(&problem).1, 200);
    }

    #[test]
    fn groups_are_taken_together() {
        // 1 and 2 cost 5 each alone; as results of 3 they cost 7 together.
        let problem = Problem {
            classes: vec![
                vec![candidate(0, &[])],
                vec![candidate(5, &[0]), candidate(0, &[3])],
                vec![candidate(5, &[0]), candidate(0, &[3])],
                vec![candidate(7, &[0])],
            ],
            initial: vec![Some(0), Some(0), Some(0), None],
            roots: vec![1, 2],
            groups: vec![vec![(1, 1), (2, 1)]],
        };
        assert_eq!(extract(&problem).1, 7);
    }

    #[test]
    fn gains_are_told_from_counts_as_from_sums() {
        // Twenty classes with up to three candidates each, by a generator of small numbers.
        let mut state = 1u32;
        let mut next = |most: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % most
        };
        for _ in 0..200 {
            let mut classes = vec![vec![candidate(1, &[])]];
            for class in 1..20 {
                let mut candidates = Vec::new();
                for at in 0..=next(3) {
                    let reach = if at == 0 { class } else { 20 };
                    let needs = [next(reach), next(reach)];
                    candidates.push(candidate(next(9).into(), &needs));
                }
                classes.push(candidates);
            }
            let problem = Problem {
                initial: vec![Some(0); classes.len()],
                roots: vec![19, next(19)],
                groups: vec![],
                classes,
            };
            let mut choice = problem.initial.clone();
            let mut walk = Walk::new(&problem);
            let cost = walk.total(&choice).unwrap();
            let used = walk.order.clone();
            let mut counts = Counts::of(&problem, &choice, &used);
            for class in 0..problem.classes.len() {
                for at in 0..problem.classes[class].len() {
                    let gains = counts.gains(&choice, class as u32, at);
                    let before = choice[class].replace(at);
                    if let Some(other) = walk.total(&choice) {
                        assert_eq!(gains, other < cost, "class {class}, candidate {at}");
                    }
                    choice[class] = before;
                }
            }
        }
    }

    #[test]
    fn cycles_are_never_chosen() {
        // 1 = f(2) or leaf-made at 10; 2 = g(1) or leaf-made at 10.
        let problem = Problem {
            classes: vec![
                vec![candidate(0, &[])],
                vec![candidate(10, &[0]), candidate(1, &[2])],
                vec![candidate(10, &[0]), candidate(1, &[1])],
            ],
            initial: vec![Some(0); 3],
            roots: vec![1, 2],
            groups: vec![],
        };
        let (choice, cost) = extract(&problem);
        assert_eq!(cost, 11);
        assert_eq!(total(&problem, &choice), Some(11));
        assert_eq!(total(&problem, &vec![Some(0), Some(1), Some(1)]), None);
    }
}
