//! Whether what a model says of its training data was learned by heart.
//!
//! A model knows the labels that it was trained on, the wrong ones too: what it says of these records contradicts next
//! to none, and tells neither which labels are wrong nor how often it is right elsewhere. So it is compared with those
//! who cannot have seen the labels: experts that leave the record out, and the model itself on labelled records that
//! were no training data.
//!
//! What must stay true: whoever contradicts about as often as the best of the others is never said to know by heart.

/// Labels from which on somebody's contradictions count.
const LABELS_MIN: u64 = 20;
/// How many times as often as the model the best of the others contradicts at least.
const TIMES: f64 = 2.0;
/// How many contradictions more that are besides, since few may be missing by chance.
const MORE: f64 = 4.0;

/// How often somebody contradicts labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Contradictions {
    /// Labels that are contradicted.
    pub count: u64,
    /// Labels that are spoken of.
    pub of: u64,
}

impl Contradictions {
    /// Counts those who say whether they agree.
    pub fn of(agrees: impl IntoIterator<Item = bool>) -> Self {
        let mut counted = Self::default();
        for agrees in agrees {
            counted.of += 1;
            counted.count += u64::from(!agrees);
        }
        counted
    }

    /// Whether they are of enough labels to count.
    pub fn is_enough(&self) -> bool {
        self.of >= LABELS_MIN
    }

    /// Their share, a little more than nothing where there are none.
    fn share(&self) -> f64 {
        (self.count + 1) as f64 / (self.of + 2) as f64
    }
}

/// Whether a model contradicts so much fewer labels of its training data than the best of the others does that it must
/// have been trained on them. Others who spoke of too few labels do not count.
pub fn is_by_heart(told: Contradictions, others: &[Contradictions]) -> bool {
    let others = others.iter().filter(|other| other.is_enough());
    let least = others.map(Contradictions::share).min_by(f64::total_cmp);
    least.is_some_and(|share| TIMES * told.count as f64 + MORE < share * told.of as f64)
}

#[cfg(test)]
mod tests {
    use super::{Contradictions, is_by_heart};

    #[test]
    fn a_model_that_contradicts_next_to_nothing_knows_labels_by_heart() {
        let of = |count, of| Contradictions { count, of };
        // It agrees with wrong labels, which experts that leave the record out contradict.
        assert!(is_by_heart(of(0, 1797), &[of(107, 1797), of(140, 1797)]));
        assert!(is_by_heart(of(0, 150), &[of(60, 150)]));
        // Out of its training data it would contradict about as many.
        assert!(!is_by_heart(of(95, 1797), &[of(107, 1797)]));
        assert!(!is_by_heart(of(300, 3000), &[of(240, 3000)]));
        // It is as good on labelled records that it was not trained on.
        assert!(!is_by_heart(of(10, 1000), &[of(300, 1000), of(1, 200)]));
        assert!(is_by_heart(of(0, 6000), &[of(60, 6000), of(30, 1000)]));
        // Too little to tell.
        assert!(!is_by_heart(of(0, 10), &[of(3, 10)]));
        assert!(!is_by_heart(of(0, 1000), &[of(2, 1000)]));
        assert!(!is_by_heart(of(0, 0), &[]));
        let counted = Contradictions::of([true, false, true]);
        assert_eq!(counted, of(1, 3));
    }
}
