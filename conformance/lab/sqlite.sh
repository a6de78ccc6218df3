# Fills a database at $BASE: 4000 rows in 20 transactions, an index, a rollback, a vacuum.
set -e
sqlite3 "$BASE" 'PRAGMA journal_mode=DELETE; CREATE TABLE item(id INTEGER PRIMARY KEY, text TEXT);' >/dev/null
for batch in $(seq 0 19); do
  {
    echo 'BEGIN;'
    for i in $(seq 200); do echo "INSERT INTO item VALUES($((batch * 200 + i)), 'row $i of batch $batch, long enough to fill pages');"; done
    echo 'COMMIT;'
  } | sqlite3 -cmd '.timeout 10000' "$BASE"
done
sqlite3 "$BASE" "CREATE INDEX by_text ON item(text); BEGIN; DELETE FROM item; ROLLBACK; UPDATE item SET text=text||'!' WHERE id%3=0; VACUUM;"
