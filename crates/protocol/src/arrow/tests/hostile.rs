//! Streams that must be refused, and bytes that are anything.

use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{DictionaryArray, Int32Array, TimestampSecondArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions};

use super::*;

/// Whether `decode` refuses `body` with `status`, and says `message`.
#[track_caller]
fn refused(body: Vec<u8>, status: u16, message: &str) {
    let error = decode(body.into(), Operation::Upsert, LIMITS).unwrap_err();
    assert_eq!(error.status, status, "{error}");
    assert!(error.message.contains(message), "{error}");
    assert!(error.message.len() < 2000, "{error}");
}

fn good() -> Vec<(&'static str, ArrayRef)> {
    vec![
        ("id", ids(&["a", "b"])),
        ("embedding", vectors(2, vec![1.0, 2.0, 3.0, 4.0])),
        ("document", texts(&[Some("x"), None])),
        ("metadata.n", Arc::new(Int64Array::from(vec![1, 2]))),
        ("metadata", texts(&[None, Some(r#"{"k":[1,2]}"#)])),
    ]
}

/// The good columns with one of them in place of another.
fn with(name: &'static str, column: ArrayRef) -> Vec<u8> {
    let mut columns = good();
    match columns.iter_mut().find(|(known, _)| *known == name) {
        Some(known) => known.1 = column,
        None => columns.push((name, column)),
    }
    stream(&[rows(columns)])
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn columns_that_break_a_rule_are_named_with_their_row() {
    let numbers = |values: Vec<f32>| vectors(2, values);
    for (body, message) in [
        (
            with("id", texts(&[Some("a"), None])),
            "`id`, row 1: an ID must have",
        ),
        (with("id", ids(&["", "b"])), "`id`, row 0: an ID must have"),
        (
            with("id", Arc::new(Int32Array::from(vec![1, 2]))),
            "`id` holds Int32; it must hold strings",
        ),
        (
            with("embedding", numbers(vec![1.0, 2.0, 3.0, f32::NAN])),
            "`embedding`, row 1: a number",
        ),
        (
            with("embedding", numbers(vec![f32::INFINITY, 0.0, 0.0, 0.0])),
            "`embedding`, row 0: a number",
        ),
        (
            with("embedding", texts(&[Some("1"), Some("2")])),
            "`embedding` holds Utf8; it must hold lists",
        ),
        (
            with("embedding", Arc::new(NullArray::new(2))),
            "`embedding`, row 0: an insertion needs",
        ),
        (
            with("document", Arc::new(Int32Array::from(vec![1, 2]))),
            "`document` holds Int32",
        ),
        (
            with("metadata", texts(&[Some("[]"), None])),
            "`metadata`, row 0: invalid type",
        ),
        (
            with("metadata", texts(&[None, Some("{")])),
            "`metadata`, row 1: EOF",
        ),
        (
            with("metadata", texts(&[None, Some("")])),
            "`metadata`, row 1: EOF",
        ),
        (
            with("metadata", texts(&[Some("{} {}"), None])),
            "`metadata`, row 0: trailing",
        ),
        (
            with("metadata", texts(&[Some(r##"{"#k":1}"##), None])),
            "`metadata`, row 0: a key or",
        ),
        (
            with("metadata", texts(&[Some(r#"{"k":{"a":1}}"#), None])),
            "`metadata`, row 0: data did not",
        ),
        (
            with("metadata", texts(&[Some(r#"{"n":3}"#), None])),
            "`metadata.n`, row 0: the column `metadata` has",
        ),
        (
            with("metadata.", Arc::new(Int64Array::from(vec![1, 2]))),
            "cannot be empty",
        ),
        (
            with("metadata.$k", Arc::new(Int64Array::from(vec![1, 2]))),
            "cannot start with",
        ),
        (
            with(
                "metadata.t",
                Arc::new(TimestampSecondArray::from(vec![1, 2])),
            ),
            "metadata is booleans, integers",
        ),
        (
            with("embeddings", vectors(1, vec![1.0, 2.0])),
            "`embeddings` is none of",
        ),
        (
            with("distance", Arc::new(Float32Array::from(vec![1.0, 2.0]))),
            "`distance` is none of",
        ),
    ] {
        refused(body, 400, message);
    }
    let long: &'static str = "x".repeat(100_000).leak();
    refused(with(long, ids(&["a", "b"])), 400, "\u{2026}` is none of");
}

#[test]
fn vectors_of_several_lengths_or_with_nulls_inside_are_refused() {
    let lists = |rows: Vec<Option<Vec<Option<f32>>>>| -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<F32, _, _>(rows))
    };
    let two = Some(vec![Some(1.0), Some(2.0)]);
    let cases = [
        (
            vec![two.clone(), Some(vec![Some(1.0)])],
            "row 1: it has 1 numbers, and vectors before it 2",
        ),
        (
            vec![two.clone(), Some(vec![])],
            "row 1: each vector must have at least 1",
        ),
        (
            vec![two.clone(), Some(vec![Some(1.0), None])],
            "row 1: a number of the vector is null",
        ),
        (vec![two, None], "row 1: an insertion needs a vector"),
    ];
    for (rows, message) in cases {
        refused(with("embedding", lists(rows)), 400, message);
    }
    let beyond = [Some(vec![Some(1e39)]), Some(vec![Some(1.0)])];
    let beyond = ListArray::from_iter_primitive::<Float64Type, _, _>(beyond);
    refused(
        with("embedding", Arc::new(beyond)),
        400,
        "row 0: a number of the vector is NaN",
    );
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let none = Arc::new(Float32Array::from(Vec::<f32>::new()));
    let degenerate = FixedSizeListArray::try_new_with_length(item, 0, none, None, 2).unwrap();
    refused(
        with("embedding", Arc::new(degenerate)),
        400,
        "of a fixed size from 1",
    );
}

#[test]
fn columns_that_are_missing_or_there_twice_are_refused() {
    let without = |name: &str| {
        let mut columns = good();
        columns.retain(|(known, _)| *known != name);
        stream(&[rows(columns)])
    };
    refused(without("id"), 400, "no column `id`");
    refused(without("embedding"), 400, "no column `embedding`");
    for name in ["id", "metadata.n", "metadata"] {
        let mut columns = good();
        let twice = columns
            .iter()
            .find(|(known, _)| *known == name)
            .unwrap()
            .clone();
        columns.push(twice);
        refused(stream(&[rows(columns)]), 400, "is there more than once");
    }
}

#[test]
fn what_is_no_whole_stream_is_refused() {
    let table = rows(good());
    let whole = stream(std::slice::from_ref(&table));
    refused(Vec::new(), 400, "it is empty");
    refused(
        b"{\"ids\":[]}".to_vec(),
        400,
        "does not begin with its marker",
    );
    let mut file = FileWriter::try_new(Vec::new(), &table.schema()).unwrap();
    file.write(&table).unwrap();
    refused(file.into_inner().unwrap(), 400, "it is an Arrow file");
    refused([&whole[..], b"more"].concat(), 400, "bytes after its end");
    refused(
        [&whole[..], &whole[..]].concat(),
        400,
        "bytes after its end",
    );
    refused(
        [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0].to_vec(),
        400,
        "it has no schema",
    );
    // Without its last 8 bytes it has all batches, and no end.
    refused(
        whole[..whole.len() - 8].to_vec(),
        400,
        "it has no end; close the writer",
    );
    for end in 0..whole.len() {
        assert_eq!(
            decode(whole[..end].to_vec().into(), Operation::Upsert, LIMITS)
                .unwrap_err()
                .status,
            400
        );
    }
}

#[test]
fn more_records_than_allowed_are_refused_over_all_batches() {
    let table = rows(vec![
        (
            "id",
            Arc::new(
                (0..600)
                    .map(|n| Some(n.to_string()))
                    .collect::<StringArray>(),
            ) as ArrayRef,
        ),
        ("embedding", vectors(1, vec![0.0; 600])),
    ]);
    let twice = stream(&[table.clone(), table]);
    refused(
        twice,
        400,
        "Batch size 1200 exceeds maximum batch size 1000",
    );
}

#[test]
fn dictionaries_and_compression_unfold_to_no_more_than_a_body_may_have() {
    // 500 times the same text of 100 kB.
    let text = "t".repeat(100_000);
    let chosen = Int32Array::from(vec![0; 500]);
    let values = Arc::new(StringArray::from(vec![text.as_str()]));
    let bomb: ArrayRef = Arc::new(DictionaryArray::<Int32Type>::new(chosen, values));
    let names: ArrayRef = Arc::new(
        (0..500)
            .map(|n| Some(n.to_string()))
            .collect::<StringArray>(),
    );
    for name in ["document", "uri", "metadata.k"] {
        let table = rows(vec![
            ("id", names.clone()),
            ("embedding", vectors(1, vec![0.0; 500])),
            (name, bomb.clone()),
        ]);
        refused(stream(&[table]), 413, "unfolds to more than 1048576 bytes");
    }
    let zeros = rows(vec![
        ("id", names),
        ("embedding", vectors(4096, vec![0.0; 500 * 4096])),
    ]);
    let options = |codec| {
        IpcWriteOptions::default()
            .try_with_compression(Some(codec))
            .unwrap()
    };
    let packed = options(CompressionType::ZSTD);
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), &zeros.schema(), packed).unwrap();
    writer.write(&zeros).unwrap();
    let packed = writer.into_inner().unwrap();
    assert!(packed.len() < 20_000, "{}", packed.len());
    refused(packed, 413, "unfolds to more than 1048576 bytes");
}

#[test]
fn dictionaries_that_grow_are_refused() {
    let table = |words: [&str; 3]| {
        let mut builder = StringDictionaryBuilder::<Int32Type>::new();
        for word in words {
            builder.append_value(word);
        }
        let names: Vec<String> = words.iter().map(|word| format!("id {word}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        rows(vec![
            ("id", ids(&names)),
            ("embedding", vectors(1, vec![0.0; 3])),
            ("document", Arc::new(builder.finish())),
        ])
    };
    let tables = [table(["a", "b", "c"]), table(["a", "b", "d"])];
    let grown = DictionaryArray::<Int32Type>::new(
        Int32Array::from(vec![0, 1, 3]),
        Arc::new(StringArray::from(vec!["a", "b", "c", "d"])),
    );
    let mut columns = tables[1].columns().to_vec();
    columns[2] = Arc::new(grown);
    let grown = Rows::try_new(tables[1].schema(), columns).unwrap();
    let send = |handling, tables: &[Rows]| {
        let options = IpcWriteOptions::default().with_dictionary_handling(handling);
        let schema = tables[0].schema();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
        for table in tables {
            writer.write(table).unwrap();
        }
        writer.into_inner().unwrap()
    };
    refused(
        send(DictionaryHandling::Delta, &[tables[0].clone(), grown]),
        400,
        "without deltas",
    );
    // Another dictionary takes the place of the first.
    let sent = send(DictionaryHandling::Resend, &tables);
    let batch = decode(sent.into(), Operation::Upsert, LIMITS).unwrap();
    let documents: Vec<_> = batch.documents.iter().flatten().collect();
    assert_eq!(documents, ["a", "b", "c", "a", "b", "d"]);
}

#[test]
fn rows_without_vectors_beside_long_ones_are_refused() {
    let limits = Limits {
        records_max: 100_000,
        bytes_max: 64 << 20,
    };
    let many = 10_000;
    let names: ArrayRef = Arc::new(
        (0..many)
            .map(|n| Some(n.to_string()))
            .collect::<StringArray>(),
    );
    let long = vec![Some(1.0); 65_535];
    let lists = (0..many).map(|row| (row == many - 1).then(|| long.clone()));
    let lists = ListArray::from_iter_primitive::<F32, _, _>(lists);
    let body = stream(&[rows(vec![("id", names), ("embedding", Arc::new(lists))])]);
    let error = decode(body.into(), Operation::Update, limits).unwrap_err();
    assert_eq!(error.status, 413, "{error}");
}

/// Where the numbers of a message's head may be found: each 8 bytes that hold `number`.
fn places_of(body: &[u8], number: i64) -> Vec<usize> {
    let sought = number.to_le_bytes();
    (0..body.len().saturating_sub(7))
        .filter(|&at| body[at..at + 8] == sought)
        .collect()
}

#[test]
fn lengths_and_offsets_that_lie_are_refused() {
    let body = stream(&[rows(good())]);
    let mut tried = 0;
    // Lengths of arrays, of buffers, and of the whole message's body are among these.
    for number in [
        0, 1, 2, 4, 8, 12, 16, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768,
    ] {
        for at in places_of(&body, number) {
            for lie in [-1, i64::MIN, i64::MAX, 1 << 40, 1 << 20, 3, 5] {
                let mut body = body.clone();
                body[at..at + 8].copy_from_slice(&lie.to_le_bytes());
                tried += 1;
                if let Err(error) = decode(body.into(), Operation::Upsert, LIMITS) {
                    assert!([400, 413].contains(&error.status), "{error}");
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(error) = decode(bytes.into(), Operation::Update, LIMITS) {
            prop_assert!([400, 413].contains(&error.status));
        }
    }

    #[test]
    fn streams_with_a_few_other_bytes_are_decoded_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        compressed in any::<bool>(),
        dictionary in any::<bool>(),
    ) {
        let mut columns = good();
        if dictionary {
            let mut builder = StringDictionaryBuilder::<Int32Type>::new();
            ["p", "q"].iter().for_each(|word| builder.append_value(word));
            columns[2].1 = Arc::new(builder.finish());
        }
        let table = rows(columns);
        let options = IpcWriteOptions::default()
            .try_with_compression(compressed.then_some(CompressionType::ZSTD))
            .unwrap();
        let schema = table.schema();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
        writer.write(&table).unwrap();
        let mut body = writer.into_inner().unwrap();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        match decode(body.into(), Operation::Upsert, LIMITS) {
            Ok(batch) => {
                prop_assert_eq!(batch.documents.len(), batch.len());
                prop_assert_eq!(batch.metadata.len(), batch.len());
            }
            Err(error) => prop_assert!([400, 413].contains(&error.status)),
        }
    }
}
