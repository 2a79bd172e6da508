//! Families that have series for each rule. The library keeps with each series what its family is called, its help, the names of its labels and
//! a copy of every value: a kilobyte, of which a busy rule would have five. Here a series is its cell and pointers to shared texts.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use ahash::RandomState;
use hashbrown::HashTable;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

/// What one series counts.
pub(crate) trait Cell: Default + fmt::Debug + Send + Sync + 'static {
    /// As the text format names it.
    const TYPE: MetricType;

    /// What it is at this moment.
    fn show(&self, metric: &mut Metric);
}

/// A family; clones are the same.
pub(crate) struct Family<C>(Arc<Inner<C>>);

struct Inner<C> {
    desc: Desc,
    texts: Texts,
    hasher: RandomState,
    series: RwLock<HashTable<Arc<Series<C>>>>,
}

/// One of its series.
#[derive(Debug)]
pub(crate) struct Series<C> {
    labels: Box<[Arc<str>]>,
    cell: C,
}

impl<C> Series<C> {
    /// Values, in the order of the family's labels.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|label| &**label)
    }
}

impl<C> Deref for Series<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.cell
    }
}

impl<C: Cell> Family<C> {
    /// Its texts may be those of other families, too.
    pub(super) fn new(name: &str, help: &str, labels: &[&str], texts: &Texts) -> prometheus::Result<Self> {
        let labels = labels.iter().map(ToString::to_string).collect();
        Ok(Self(Arc::new(Inner {
            desc: Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())?,
            texts: texts.clone(),
            hasher: RandomState::new(),
            series: RwLock::default(),
        })))
    }

    /// The series of these values, which are as many as the family has labels.
    pub(crate) fn with_label_values(&self, values: &[&str]) -> Arc<Series<C>> {
        debug_assert_eq!(values.len(), self.0.desc.variable_labels.len());
        let hash = self.0.hash(values.iter().copied());
        let same = |series: &Arc<Series<C>>| series.labels().eq(values.iter().copied());
        let known = self.0.series.read().unwrap_or_else(PoisonError::into_inner).find(hash, same).cloned();
        known.unwrap_or_else(|| {
            let mut all = self.0.series.write().unwrap_or_else(PoisonError::into_inner);
            let again = |series: &Arc<Series<C>>| self.0.hash(series.labels());
            let entry = all.entry(hash, same, again);
            let new = || Arc::new(Series { labels: self.0.texts.of(values), cell: C::default() });
            Arc::clone(entry.or_insert_with(new).get())
        })
    }

    /// Removes a series. What is counted by those who have it shows nowhere any more.
    pub(super) fn remove(&self, labels: &BTreeMap<String, String>) {
        let values: Option<Vec<&str>> =
            self.0.desc.variable_labels.iter().map(|name| labels.get(name).map(String::as_str)).collect();
        let Some(values) = values else { return };
        let hash = self.0.hash(values.iter().copied());
        let mut all = self.0.series.write().unwrap_or_else(PoisonError::into_inner);
        if let Ok(found) = all.find_entry(hash, |series| series.labels().eq(values.iter().copied())) {
            found.remove();
        }
    }
}

impl<C> Inner<C> {
    fn hash<'v>(&self, values: impl Iterator<Item = &'v str>) -> u64 {
        self.hasher.hash_one(values.collect::<Vec<_>>())
    }
}

impl<C: Cell> Collector for Family<C> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Desc { fq_name, help, variable_labels, .. } = &self.0.desc;
        let mut family = MetricFamily::default();
        family.set_name(fq_name.clone());
        family.set_help(help.clone());
        family.set_field_type(C::TYPE);
        let all = self.0.series.read().unwrap_or_else(PoisonError::into_inner);
        let metrics = all.iter().map(|series| {
            let pairs = variable_labels.iter().zip(series.labels()).map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.clone());
                pair.set_value(value.to_owned());
                pair
            });
            let mut pairs: Vec<_> = pairs.collect();
            // As the library has them.
            pairs.sort_by(|a, b| a.name().cmp(b.name()));
            let mut metric = Metric::from_label(pairs);
            series.show(&mut metric);
            metric
        });
        family.set_metric(metrics.collect());
        vec![family]
    }
}

impl<C> Clone for Family<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Family<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Family").field(&self.0.desc.fq_name).finish()
    }
}

/// Values of labels, each once in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    texts: HashSet<Arc<str>, RandomState>,
    /// Of so many, those that no series has any more are let go.
    limit: usize,
}

impl Texts {
    fn of(&self, values: &[&str]) -> Box<[Arc<str>]> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        values.iter().map(|value| known.text(value)).collect()
    }
}

impl Known {
    fn text(&mut self, value: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(value) {
            return Arc::clone(known);
        }
        if self.texts.len() >= self.limit {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.limit = 2 * self.texts.len() + 64;
        }
        let new: Arc<str> = value.into();
        self.texts.insert(Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Encoder as _, Registry, TextEncoder};

    use super::*;
    use crate::metrics::cells::Count;

    fn shown(registry: &Registry) -> String {
        let mut text = Vec::new();
        TextEncoder::new().encode(&registry.gather(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_family_shows_its_series_as_the_library_would() {
        let (registry, theirs) = (Registry::new(), Registry::new());
        let family = Family::<Count>::new("x_total", "Things.", &["rule", "code"], &Texts::default()).unwrap();
        registry.register(Box::new(family.clone())).unwrap();
        let options = prometheus::Opts::new("x_total", "Things.");
        let library = prometheus::IntCounterVec::new(options, &["rule", "code"]).unwrap();
        theirs.register(Box::new(library.clone())).unwrap();
        assert_eq!(shown(&registry), shown(&theirs), "both have nothing");
        for values in [["b", "200"], ["a", "404"], ["a", "200"], ["b", "200"]] {
            family.with_label_values(&values).inc_by(2);
            library.with_label_values(&values).inc_by(2);
        }
        assert_eq!(shown(&registry), shown(&theirs));
    }

    #[test]
    fn a_series_that_was_removed_begins_anew() {
        let family = Family::<Count>::new("x_total", "Things.", &["rule"], &Texts::default()).unwrap();
        family.with_label_values(&["a"]).inc_by(5);
        family.remove(&BTreeMap::from([("rule".to_owned(), "a".to_owned())]));
        assert!(family.collect()[0].get_metric().is_empty());
        family.with_label_values(&["a"]).inc_by(1);
        assert_eq!(family.collect()[0].get_metric()[0].get_counter().get_value(), 1.0);
    }

    #[test]
    fn texts_are_shared_and_let_go() {
        let texts = Texts::default();
        let kept = texts.of(&["kept"]);
        assert!(Arc::ptr_eq(&kept[0], &texts.of(&["kept"])[0]));
        for n in 0..1000 {
            texts.of(&[&n.to_string()]);
        }
        assert!(texts.0.lock().unwrap().texts.len() < 100);
        assert!(Arc::ptr_eq(&kept[0], &texts.of(&["kept"])[0]));
    }
}
